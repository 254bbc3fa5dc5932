//! Mounting without helpers.
//!
//! We open `/dev/fuse` and call `mount(2)` ourselves, so that the fd is ours to hand to a holder and to mount
//! again: with the fd of a living connection `mount(2)` gives the same superblock back. `mount` returns before
//! anybody serves: the kernel queues its INIT until a [`Server`](crate::Server) reads the fd.
//!
//! Read-only, but neither `nosuid` nor `nodev`: overlayfs honours set-user-id bits, file capabilities and device
//! nodes of a lowerdir only if the lower mount does, and an image may use all three.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    mount::{MountFlags, UnmountFlags},
};

/// Source and subtype as they show in mountinfo: `peel on … type fuse.peel`.
const NAME: &str = "peel";

/// Mounts a new connection on the directory `mount_point` and returns its device.
///
/// # Errors
/// What `open(2)` or `mount(2)` say; ENODEV where the kernel has no FUSE.
pub fn mount(mount_point: &Path) -> io::Result<OwnedFd> {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    attach(device.as_fd(), mount_point)?;
    Ok(device)
}

/// Mounts the connection of `device` on the directory `mount_point`, a second time or again after it was unmounted.
///
/// # Errors
/// What `mount(2)` says; EINVAL when the connection is dead.
pub fn attach(device: BorrowedFd<'_>, mount_point: &Path) -> io::Result<()> {
    // `allow_other`: containers run as anybody. `default_permissions`: the kernel checks modes, which it must
    // for idmapped mounts (FUSE_ALLOW_IDMAP) and which saves a request each time.
    let options = CString::new(format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,subtype={NAME}",
        device.as_raw_fd()
    ))?;
    rustix::mount::mount(NAME, mount_point, "fuse", MountFlags::RDONLY, options.as_c_str())?;
    Ok(())
}

/// Unmounts `mount_point`; fails with EBUSY while it is in use.
///
/// # Errors
/// What `umount(2)` says.
pub fn unmount(mount_point: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(mount_point, UnmountFlags::NOFOLLOW)?)
}

/// Takes `mount_point` out of sight at once; who still uses it, overlays too, goes on.
///
/// # Errors
/// What `umount(2)` says.
pub fn detach(mount_point: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(mount_point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?)
}
