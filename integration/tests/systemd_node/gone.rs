//! The harness itself: whatever state a node is in when its test fails, nothing of it is left.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use peel_integration::{guard::TestDir, proxy::Hold, wait};

use crate::{
    ground::{Ground, LIMIT, names, on},
    machine::Machine,
    root,
};

const NSPAWN: &str = "/run/systemd/nspawn";

/// By what the remains of a machine would be known.
struct Traces {
    dir: PathBuf,
    /// The machine's, and that of the cgroup of its processes.
    name: String,
    /// systemd-nspawn's on the root filesystem.
    lock: PathBuf,
}

impl Traces {
    fn of(dir: &Path, root: &Path) -> Result<Self> {
        let name = dir.file_name().context("a folder without a name")?.display().to_string();
        let root = fs::metadata(root)?;
        let lock = Path::new(NSPAWN).join(format!("locks/inode-{}:{}", root.dev(), root.ino()));
        Ok(Self { dir: dir.to_owned(), name, lock })
    }

    fn propagated(&self) -> PathBuf {
        Path::new(NSPAWN).join("propagate").join(&self.name)
    }

    fn processes(&self) -> Vec<String> {
        let part = format!("/{}", self.name);
        let is_its = |pid: &String| {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            groups.split([':', '\n']).any(|group| group == part || group.starts_with(&format!("{part}/")))
        };
        names(Path::new("/proc"))
            .into_iter()
            .filter(|name| name.parse::<u32>().is_ok())
            .filter(is_its)
            .collect()
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let parents = names(Path::new("/sys/fs/cgroup")).into_iter().chain([String::new()]);
        let groups = parents.map(|parent| Path::new("/sys/fs/cgroup").join(parent).join(&self.name));
        groups.filter(|group| group.exists()).collect()
    }

    /// Of this process's mount namespace, which is the host's.
    fn mounts(&self) -> Result<Vec<String>> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(table.lines().filter(|line| line.contains(&self.name)).map(str::to_owned).collect())
    }

    fn loop_devices(&self) -> Vec<String> {
        let file = |name: &String| {
            let file = Path::new("/sys/block").join(name).join("loop/backing_file");
            fs::read_to_string(file).unwrap_or_default()
        };
        names(Path::new("/sys/block")).into_iter().filter(|name| file(name).contains(&self.name)).collect()
    }

    /// All that is left now.
    fn left(&self) -> Result<Vec<String>> {
        let processes = self.processes().into_iter().map(|pid| format!("process {pid}"));
        let mounts = self.mounts()?.into_iter().map(|mount| format!("mount {mount}"));
        let loops = self.loop_devices().into_iter().map(|device| format!("loop device {device}"));
        let paths = [self.lock.clone(), self.propagated(), self.dir.clone()].into_iter();
        let paths = self.cgroups().into_iter().chain(paths.filter(|path| path.exists()));
        let paths = paths.map(|path| path.display().to_string());
        Ok(processes.chain(mounts).chain(loops).chain(paths).collect())
    }

    /// A killed process is its parent's for a moment, and a loop device goes when the kernel gets to it.
    fn are_gone(&self) -> Result<()> {
        let mut left = Vec::new();
        let gone = wait::until("all of it to be gone", LIMIT, || {
            left = self.left()?;
            Ok(left.is_empty().then_some(()))
        });
        gone.with_context(|| format!("left: {left:#?}"))
    }
}

/// Containers that wait for Peel, which waits for the registry: nobody of them ends by himself.
fn with_reads_that_wait(ground: &Ground) -> Result<Hold> {
    let machine = ground.machine()?;
    let lazy = format!("[fetch]\nwhole_layer_bytes = 0\ncomplete = false\n{}", root::ROOM);
    fs::write(machine.path("/etc/peel/config.toml"), lazy)?;
    machine.systemctl(&["restart", "peel.service"])?;
    machine.cri()?.pull(&ground.image)?;
    let hold = ground.proxy()?.hold(ground.app.content_reads());
    ground.start_reader("reader")?;
    hold.wait_for(1, LIMIT)?;
    Ok(hold)
}

#[test]
fn a_test_that_fails_under_load_leaves_nothing() -> Result<()> {
    let (mut seen, mut _held) = (None, None);
    let outcome = on(|ground| {
        _held = Some(with_reads_that_wait(ground)?);
        let machine = ground.machine()?;
        let traces = Traces::of(ground.dir(), machine.root())?;
        ensure!(traces.processes().len() > 5, "its processes are not known: {:?}", traces.processes());
        ensure!(!traces.cgroups().is_empty() && traces.lock.exists() && traces.propagated().exists());
        seen = Some(traces);
        bail!("as a test fails")
    });
    let error = outcome.err().context("the failure got lost")?;
    ensure!(format!("{error:#}") == "as a test fails", "{error:#}");
    seen.context("the machine was not looked at")?.are_gone()
}

#[test]
fn a_machine_that_does_not_boot_leaves_nothing() -> Result<()> {
    let dir = TestDir::new()?;
    let root = dir.make("root")?;
    let traces = Traces::of(dir.path(), &root)?;
    let error = Machine::boot(&dir, &root).err().context("a machine without a system booted")?;
    ensure!(format!("{error:#}").contains("systemd-nspawn ended"), "{error:#}");
    drop(dir);
    traces.are_gone()
}
