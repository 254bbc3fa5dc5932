//! The mounts below a test's folder: FUSE connections are aborted, then all are unmounted, deepest first.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use peel_fusefs::mountinfo::{self, Mount};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// The mounts below `dir`, and on it, in the order in which they were made.
pub(super) fn below(dir: &Path) -> Result<Vec<Mount>> {
    let mounts = mountinfo::mounts().context("reading mountinfo")?;
    Ok(mounts.into_iter().filter(|mount| mount.mount_point.starts_with(dir)).collect())
}

/// Aborts and unmounts everything below `dir`.
pub(super) fn unmount_below(dir: &Path) -> Result<()> {
    abort_fuse_below(dir)?;
    let mounts = below(dir)?;
    for Mount { mount_point: point, .. } in mounts.iter().rev() {
        // Lazily where it is still in use: the name is gone then, and the mount goes with its last user.
        unmount(point, UnmountFlags::NOFOLLOW)
            .or_else(|_| unmount(point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH))
            .with_context(|| format!("unmounting {point:?}"))?;
    }
    Ok(())
}

/// Ends the FUSE connections of all mounts below `dir`.
pub(super) fn abort_fuse_below(dir: &Path) -> Result<()> {
    control_fuse_below(dir, |connection| {
        // Gone already when the daemon closed its last descriptor: nothing to abort.
        let _ = fs::write(connection.join("abort"), "1");
    })
}

/// Requests that the kernel sent over them and nobody has answered.
pub(super) fn fuse_waiting_below(dir: &Path) -> Result<u64> {
    let mut waiting = 0;
    control_fuse_below(dir, |connection| {
        let text = fs::read_to_string(connection.join("waiting")).unwrap_or_default();
        waiting += text.trim().parse::<u64>().unwrap_or(0);
    })?;
    Ok(waiting)
}

/// Calls `each` with the control folder of every FUSE connection that is mounted below `dir`.
fn control_fuse_below(dir: &Path, mut each: impl FnMut(&Path)) -> Result<()> {
    // The major number of what has no block device is 0: the minor names the connection.
    let fuse = below(dir)?.into_iter().filter(Mount::is_fuse);
    let minors: BTreeSet<u32> = fuse.map(|mount| mount.device.1).collect();
    if minors.is_empty() {
        return Ok(());
    }
    // The control filesystem is mounted in the test's own folder: a machine without systemd has it nowhere.
    let control = dir.join("fusectl");
    fs::create_dir_all(&control)?;
    mount("fusectl", &control, "fusectl", MountFlags::empty(), None).context("mounting fusectl")?;
    for minor in minors {
        each(&control.join(minor.to_string()));
    }
    unmount(&control, UnmountFlags::DETACH).context("unmounting fusectl")
}
