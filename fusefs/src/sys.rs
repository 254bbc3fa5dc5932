#![expect(
    unsafe_code,
    reason = "a file descriptor's number is replaced under its owner, and an ioctl has no wrapper"
)]
//! Two things that the kernel offers and no crate wraps safely.

use std::{
    io,
    mem::ManuallyDrop,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::DupFlags,
    ioctl::{Setter, ioctl, opcode},
};

/// `FUSE_DEV_IOC_CLONE`, `_IOR(229, 0, uint32_t)` (include/uapi/linux/fuse.h).
const CLONE: rustix::ioctl::Opcode = opcode::read::<u32>(229, 0);

/// Puts the file of `with` where `number` is: who owns `number` goes on with the other file.
///
/// # Errors
/// What `dup3(2)` says; `number` is then as it was.
pub(crate) fn replace(number: BorrowedFd<'_>, with: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the number is open for as long as it is borrowed. Its owner stays the one that closes it, since this
    // second one is never dropped; and dup3 leaves it open, whatever it answers.
    let mut number = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number.as_raw_fd()) });
    Ok(rustix::io::dup3(with, &mut number, DupFlags::CLOEXEC)?)
}

/// A second queue of the connection of `device`: requests that were read through it end with an error when it is
/// closed, and the others do not.
///
/// # Errors
/// What `open(2)` and `ioctl(2)` say; EINVAL when the connection was never mounted.
pub(crate) fn second_queue(device: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let queue = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let number = u32::try_from(device.as_raw_fd()).map_err(io::Error::other)?;
    // SAFETY: the kernel's FUSE_DEV_IOC_CLONE reads one u32, the number of an open descriptor, and writes nothing.
    unsafe { ioctl(queue.as_fd(), Setter::<CLONE, u32>::new(number))? };
    Ok(queue)
}
