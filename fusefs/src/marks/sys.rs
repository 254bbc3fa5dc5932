#![expect(unsafe_code, reason = "memory that a successor looks at is mapped")]
//! The start of a file as numbers that several processes may see.

use std::{io, os::fd::BorrowedFd, ptr, sync::atomic::AtomicU64};

use rustix::mm::{MapFlags, ProtFlags, mmap};

/// Numbers that are mapped.
pub(super) const WORDS: usize = 2048;
/// Bytes.
const SIZE: usize = WORDS * 8;

/// Maps the start of `file`, which gets that size if it is smaller, for the rest of the process's life.
///
/// # Errors
/// What `ftruncate(2)` and `mmap(2)` say.
pub(super) fn map(file: BorrowedFd<'_>) -> io::Result<&'static [AtomicU64; WORDS]> {
    if rustix::fs::fstat(file)?.st_size < SIZE.try_into().map_err(io::Error::other)? {
        rustix::fs::ftruncate(file, SIZE as u64)?;
    }
    // SAFETY: the kernel chooses an address of its own for the new mapping, so it overlaps nothing.
    let start = unsafe {
        mmap(ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?
    };
    // SAFETY: a mapping begins at a page and is never unmapped here; the file is as large as the mapping and nobody
    // makes it smaller; any bytes are valid numbers, and others write them, if at all, while we use atomics.
    Ok(unsafe { &*start.cast::<[AtomicU64; WORDS]>() })
}
