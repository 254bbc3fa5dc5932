#![expect(unsafe_code, reason = "EXT4_IOC_SHUTDOWN has no safe wrapper")]
//! The ioctl that takes a filesystem's power away.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};
use rustix::ioctl::{Setter, ioctl, opcode};

/// `EXT4_IOC_SHUTDOWN`, which is XFS's `XFS_IOC_GOINGDOWN`.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: what the journal holds in memory is lost.
const NO_LOG_FLUSH: u32 = 2;

/// From now on nothing reaches the device of the filesystem that is mounted at `root`, and every access fails.
pub(in crate::node) fn shut_down(root: &Path) -> Result<()> {
    let root = File::open(root)?;
    // SAFETY: the opcode takes a pointer to a u32, which it only reads, and leaves no memory of this process changed.
    unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }
        .context("shutting the filesystem down")
}
