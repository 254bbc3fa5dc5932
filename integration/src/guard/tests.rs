//! A test that was killed leaves a mount, a daemon and its folder; the next one to start takes them away.

use std::{
    ffi::CString,
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::mount::{MountFlags, mount};

use super::{LOCK, TestDir, mounts, sweep};
use crate::{process::Daemon, wait};

/// A folder as a killed test leaves it: the lock file is there and nobody holds it.
fn abandon(parent: &Path) -> Result<(PathBuf, Daemon)> {
    let dir = parent.join("peel-it-killed");
    fs::create_dir_all(dir.join("a b/inner"))?;
    fs::write(dir.join(LOCK), "")?;
    mount("none", dir.join("a b"), "tmpfs", MountFlags::empty(), None)?;
    fs::create_dir(dir.join("a b/inner"))?;
    mount("none", dir.join("a b/inner"), "tmpfs", MountFlags::empty(), None)?;
    // What counts as a daemon of the harness is told by its name.
    let program = dir.join("containerd-test");
    fs::copy("/bin/sleep", &program)?;
    let mut command = Command::new(&program);
    command.arg("1000");
    let daemon = Daemon::spawn("a leftover", command, &dir.join("log"))?;
    // The kernel reports an exec to the parent before the new arguments can be read in /proc; a sweep in between
    // would not know the process. What a killed test left is older than that.
    let arguments = format!("/proc/{}/cmdline", daemon.pid());
    wait::until_true("the leftover's arguments", Duration::from_secs(20), || {
        fs::read(&arguments).is_ok_and(|bytes| !bytes.is_empty())
    })?;
    Ok((dir, daemon))
}

#[test]
fn what_a_killed_test_left_is_swept() -> Result<()> {
    let parent = tempfile::tempdir_in("/var/tmp")?;
    let (dir, mut daemon) = abandon(parent.path())?;
    ensure!(mounts::below(&dir)?.len() == 2);

    sweep(parent.path());
    ensure!(!dir.exists() && mounts::below(&dir)?.is_empty());
    wait::until_true("the leftover to end", Duration::from_secs(20), || daemon.check_alive().is_err())
}

/// A FUSE mount whose daemon never answers: whoever looks into it waits, unkillably, until the connection ends.
#[test]
fn a_hung_fuse_mount_ends_with_its_test() -> Result<()> {
    let dir = TestDir::new()?;
    let point = dir.make("hung")?;
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    mount("hung", &point, "fuse", MountFlags::empty(), Some(CString::new(options)?.as_c_str()))?;
    let file = point.join("file");
    let reader = thread::spawn(move || fs::metadata(file));
    let path = dir.path().to_owned();
    // The device stays open meanwhile: it is the drop that frees the reader.
    drop(dir);
    ensure!(reader.join().is_ok_and(|result| result.is_err()) && !path.exists());
    drop(device);
    Ok(())
}

#[test]
fn a_running_test_is_left_alone() -> Result<()> {
    let dir = TestDir::new()?;
    fs::write(dir.path().join("kept"), "")?;
    // Another test, in another thread as in another process, sweeps when it starts.
    let other = thread::spawn(TestDir::new).join();
    ensure!(other.is_ok_and(|other| other.is_ok()) && dir.path().join("kept").exists());
    Ok(())
}
