//! Read-only loop devices, for kernels whose EROFS wants block devices.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::sys::{self, Reads};

/// Blocks as EROFS has them: data files are multiples of it, and a loop device ignores what is left over.
const BLOCK: u32 = 4096;

/// How often a free number may be snatched away by somebody else before we give up.
const ATTEMPTS: u32 = 64;

/// A loop device. Freed by the kernel with its last user: this value, or a filesystem mounted on it.
#[derive(Debug)]
pub(super) struct LoopDevice {
    path: PathBuf,
    /// Keeps it until something is mounted on it.
    _device: OwnedFd,
}

impl LoopDevice {
    /// Binds a free device to `file`.
    pub(super) fn attach(file: &Path, reads: Reads) -> io::Result<Self> {
        let file = rustix::fs::open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let control = rustix::fs::open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        for _ in 0..ATTEMPTS {
            let number = sys::free_loop_number(control.as_fd())?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            match sys::configure_loop(device.as_fd(), file.as_fd(), BLOCK, reads) {
                Ok(()) => return Ok(Self { path, _device: device }),
                // Somebody was quicker.
                Err(rustix::io::Errno::BUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "every free device was taken by somebody else"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
