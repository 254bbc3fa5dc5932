#![expect(unsafe_code, reason = "mount_setattr(2) and unshare(2) have no safe wrapper")]
//! Cloning a mount with a mapping, and entering a user namespace.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::CWD,
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};

/// `struct mount_attr` (linux/mount.h), version 0.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// linux/mount.h.
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

const _: () = assert!(size_of::<MountAttr>() == 32, "MOUNT_ATTR_SIZE_VER0");

/// Mounts a clone of the tree at `from` on `to`, with the ids of `user_namespace`. `from` may be any directory; what
/// is mounted below it is not cloned.
pub(super) fn idmapped_clone(from: &Path, to: &Path, user_namespace: &OwnedFd) -> io::Result<()> {
    let clone = open_tree(CWD, from, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let attributes = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(user_namespace.as_raw_fd()).map_err(io::Error::other)?,
    };
    // SAFETY: the path is an empty C string that lives for the call, the attributes are a `struct mount_attr` of the
    // size that is passed (asserted above), and the kernel keeps no pointer to either.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            clone.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    move_mount(&clone, "", CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// Puts this process into a new user namespace; EINVAL when it has more than one thread.
pub(super) fn enter_new_user_namespace() -> rustix::io::Result<()> {
    // SAFETY: CLONE_NEWUSER changes credentials, no descriptor table or memory that other code relies upon.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }
}
