//! A machine that boots: systemd as process 1 of a container that has all rights, the host's network and /dev/fuse.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    cri::Cri,
    guard::TestDir,
    process::{Daemon, run},
    wait,
};
use rustix::process::{Pid, Signal, kill_process};

/// Seen: 3 s to boot, 2 s to power off; two cores may be busy.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// Of that, 8 s are for containers that nobody stopped; somebody who cannot be killed would take for ever.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(90);
/// Longest command in the machine, in seconds.
const COMMAND_LIMIT: &str = "60";

/// Into a cgroup of the test, which its folder's guard empties and removes; then boots.
const BOOT: &str = r#"
for parent in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    [ -e "$parent/cgroup.procs" ] || continue
    mkdir -p "$parent/$CGROUP"
    for file in cpuset.cpus cpuset.mems; do
        [ -e "$parent/$file" ] && cat "$parent/$file" > "$parent/$CGROUP/$file"
    done
    echo $$ > "$parent/$CGROUP/cgroup.procs"
done
exec systemd-nspawn --directory="$ROOT" --machine="$NAME" --boot --register=no --keep-unit --capability=all \
    --system-call-filter='@keyring bpf' --bind=/dev/fuse --property=DeviceAllow='/dev/fuse rwm' --console=pipe
"#;

/// A machine that runs. Dropping it is a power cut.
#[derive(Debug)]
pub(crate) struct Machine {
    name: OsString,
    root: PathBuf,
    daemon: Daemon,
    /// Its process 1, in the host's numbering.
    leader: u32,
}

impl Machine {
    /// Boots the root filesystem `root`, which is in the folder `dir`.
    pub(crate) fn boot(dir: &TestDir, root: &Path) -> Result<Self> {
        let name = dir.path().file_name().context("a folder without a name")?;
        let cgroup = dir.cgroup();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", BOOT]).env("ROOT", root).env("NAME", name);
        command.env("CGROUP", cgroup.trim_start_matches('/'));
        let mut daemon = Daemon::spawn("systemd-nspawn", command, &dir.path().join("console.log"))?;
        let leader = wait::until("the machine's first process", BOOT_LIMIT, || {
            daemon.check_alive()?;
            let pid = daemon.pid();
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            let leader = children.split_whitespace().next().and_then(|leader| leader.parse().ok());
            let is_init = |leader: &u32| {
                fs::read_to_string(format!("/proc/{leader}/comm")).is_ok_and(|name| name.trim() == "systemd")
            };
            Ok(leader.filter(is_init))
        })?;
        let mut machine = Self { name: name.to_owned(), root: root.to_owned(), daemon, leader };
        wait::until("the machine to have booted", BOOT_LIMIT, || {
            machine.daemon.check_alive()?;
            let state = machine.run(&["systemctl", "is-system-running"]);
            Ok(state.is_ok().then_some(()))
        })
        .with_context(|| machine.run(&["journalctl", "--no-pager", "--lines", "80"]).unwrap_or_default())?;
        Ok(machine)
    }

    /// Runs a command in it.
    pub(crate) fn run(&self, command: &[&str]) -> Result<String> {
        let leader = self.leader.to_string();
        let mut enter = Command::new("timeout");
        enter.args(["-k", "5", COMMAND_LIMIT, "nsenter", "-t", &leader, "-m", "-u", "-i", "-n", "-p"]);
        // Where the machine's own shells look.
        enter.args(["--", "env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
        run(enter.args(command))
    }

    /// Runs `systemctl` in it.
    pub(crate) fn systemctl(&self, arguments: &[&str]) -> Result<()> {
        self.run(&[&["systemctl"], arguments].concat()).map(drop)
    }

    /// A property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> Result<String> {
        Ok(self.run(&["systemctl", "show", "--value", "--property", name, unit])?.trim().to_owned())
    }

    /// A path of the machine as this process reaches it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc").join(self.leader.to_string()).join("root").join(path.trim_start_matches('/'))
    }

    /// The mounts of its process 1 at and below `path`.
    pub(crate) fn mounts(&self, path: &str) -> Result<Vec<String>> {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", self.leader))?;
        let below = |line: &&str| line.split(' ').nth(4).is_some_and(|point| point.starts_with(path));
        Ok(table.lines().filter(below).map(str::to_owned).collect())
    }

    /// Its containerd's CRI, once it answers.
    pub(crate) fn cri(&self) -> Result<Cri> {
        let cri = Cri::new(&self.path("/run/containerd/containerd.sock"))?;
        wait::until("CRI to answer", BOOT_LIMIT, || Ok(cri.version().ok()))?;
        Ok(cri)
    }

    /// An orderly shutdown.
    pub(crate) fn power_off(mut self) -> Result<()> {
        self.systemctl(&["poweroff", "--no-block"])?;
        let off = wait::until_true("the machine to power off", POWER_OFF_LIMIT, || {
            self.daemon.check_alive().is_err()
        });
        off.with_context(|| {
            self.run(&["systemctl", "list-jobs"]).unwrap_or_else(|error| format!("{error:#}"))
        })?;
        ensure!(!Path::new("/proc").join(self.leader.to_string()).exists(), "a process is left");
        Ok(())
    }

    /// The machine's log of a unit.
    pub(crate) fn journal(&self, unit: &str) -> String {
        let arguments = ["journalctl", "--no-pager", "--output", "cat", "--lines", "60", "--unit", unit];
        self.run(&arguments).unwrap_or_else(|error| format!("{error:#}"))
    }

    /// Removes what systemd-nspawn leaves when it is killed. Nothing refers to it any more.
    fn forget(&self) {
        let nspawn = Path::new("/run/systemd/nspawn");
        let _ = fs::remove_dir_all(nspawn.join("propagate").join(&self.name));
        // Its lock on the root filesystem: systemd's image_path_lock().
        if let Ok(root) = fs::metadata(&self.root) {
            let _ = fs::remove_file(nspawn.join(format!("locks/inode-{}:{}", root.dev(), root.ino())));
        }
    }

    /// Its root filesystem as on the disk.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The container's end is not that of systemd-nspawn but that of its first process.
        if self.daemon.check_alive().is_ok()
            && let Some(leader) = i32::try_from(self.leader).ok().and_then(Pid::from_raw)
            && kill_process(leader, Signal::KILL).is_ok()
        {
            let _ =
                wait::until_true("the machine's end", POWER_OFF_LIMIT, || self.daemon.check_alive().is_err());
        }
        if self.daemon.check_alive().is_err() {
            self.forget();
        }
    }
}
