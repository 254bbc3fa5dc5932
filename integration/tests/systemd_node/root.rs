//! The root filesystem of a node: Debian 12 with systemd and containerd, Peel installed as an operator installs it.
//!
//! What is set here beyond that is what a container for a machine cannot do: CAP_SYS_RESOURCE is missing, so the
//! scores of the OOM killer stay as they are; the controllers of cgroups are mounted read-only, and are made writable.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use peel_integration::{debian, images::artefact, peel, process::run};

/// What a node needs beyond a Debian that boots. `fuse3` is what an operator has; Peel does not call it.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,containerd,runc,fuse3,kmod";
/// What is not needed once all is installed.
const LEFTOVERS: [&str; 3] = ["var/cache/apt", "var/lib/apt/lists", "usr/share/locale"];

/// Where `make install` puts things on the node.
pub(crate) const PREFIX: &str = "/usr/local";

/// Without CAP_SYS_RESOURCE a score below the inherited one is refused, and the service does not start.
const NO_SCORE: &str = "[Service]\nOOMScoreAdjust=0\n";
/// The watchdog acts within a test's patience.
const WATCHDOG: &str = "[Service]\nWatchdogSec=10s\n";
/// The disk of a machine that builds may be fuller than a node's: the cache is filled all the same.
pub(crate) const ROOM: &str = "[cache]\nhigh_percent = 100\nlow_percent = 99\n";
/// A shutdown gives containers that nobody stopped so long, and kills them.
const STOP: &str = "[Manager]\nDefaultTimeoutStopSec=8s\n";
const WRITABLE_CGROUPS: &str = "[Service]
ExecStartPre=/bin/sh -c 'for dir in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,bind,rw $$dir; done; true'
";

/// Makes the node's root in the new folder `root`.
pub(crate) fn make(root: &Path, sandbox_image: &str) -> Result<()> {
    let debian = artefact("systemd-node-1", |directory| debootstrap(&directory.join("root")))?;
    run(Command::new("cp").arg("-a").arg(debian.join("root")).arg(root))?;
    install(root)?;
    for (unit, name, text) in [
        ("containerd", "score", NO_SCORE),
        ("containerd", "cgroups", WRITABLE_CGROUPS),
        ("peel", "score", NO_SCORE),
        ("peel", "watchdog", WATCHDOG),
        ("peel-hold", "score", NO_SCORE),
    ] {
        write(root, &format!("etc/systemd/system/{unit}.service.d/{name}.conf"), text)?;
    }
    write(root, "etc/systemd/system.conf.d/stop.conf", STOP)?;
    write(root, "etc/peel/config.toml", ROOM)?;
    // CRI copies it.
    write(root, "etc/hosts", "127.0.0.1 localhost\n")?;
    write(root, "etc/containerd/config.toml", &containerd_config(sandbox_image)?)?;
    run(Command::new("systemctl").arg("--root").arg(root).args(["enable", "peel.service"])).map(drop)
}

/// `make install`, of the build under test.
pub(crate) fn install(root: &Path) -> Result<()> {
    run(make_command(root).arg("install").arg(format!("BINARY={}", peel::binary()?.display()))).map(drop)
}

/// `make uninstall` of the files.
pub(crate) fn uninstall(root: &Path) -> Result<()> {
    run(make_command(root).arg("uninstall")).map(drop)
}

fn make_command(root: &Path) -> Command {
    let mut command = Command::new("make");
    command.arg("-C").arg(repository()).arg(format!("DESTDIR={}", root.display()));
    command.arg(format!("PREFIX={PREFIX}"));
    command
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn debootstrap(root: &Path) -> Result<()> {
    let include = format!("--include={PACKAGES}");
    let arguments = ["--variant=minbase", &include, "bookworm"];
    run(Command::new("debootstrap").args(arguments).arg(root).arg(debian::mirror()?))?;
    for leftover in LEFTOVERS {
        fs::remove_dir_all(root.join(leftover)).with_context(|| format!("removing {leftover}"))?;
    }
    // Each node makes its own at its first boot.
    fs::write(root.join("etc/machine-id"), "")?;
    Ok(())
}

fn write(root: &Path, path: &str, text: &str) -> Result<()> {
    let path = root.join(path);
    fs::create_dir_all(path.parent().context("a file without a folder")?)?;
    fs::write(&path, text).with_context(|| format!("writing {path:?}"))
}

/// The README's configuration for containerd 1.6, and what a test machine needs besides: nothing that listens for
/// others, no AppArmor, no scores below the inherited one.
fn containerd_config(sandbox_image: &str) -> Result<String> {
    let readme = fs::read_to_string(repository().join("README.md"))?;
    let block = readme.split("```toml\n").find(|block| block.starts_with("version = 2"));
    let block =
        block.and_then(|block| block.split("```").next()).context("README.md has no configuration")?;
    Ok(format!(
        r#"{block}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox_image}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
"#
    ))
}
