//! One daemon at a time serves a root.
//!
//! The lock is on an open file, so it goes when the last thread of its process has ended, and not before: who gets it
//! knows that nobody answers FUSE requests or writes the cache any more.

use std::{fs::File, path::Path, time::Duration};

use anyhow::Context as _;
use tokio::time::Instant;

/// How long a predecessor may take to die: one that was killed under load has its memory taken down first.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(2);

/// Waits for the predecessor's end. The lock lasts as long as the file is open.
///
/// # Errors
/// The file cannot be made, or another daemon stays.
pub async fn lock(root: &Path) -> anyhow::Result<File> {
    let end = Instant::now() + PATIENCE;
    loop {
        match try_lock(root)? {
            Some(file) => return Ok(file),
            None if Instant::now() < end => tokio::time::sleep(STEP).await,
            None => anyhow::bail!("{} is in use by another peel serve", root.display()),
        }
    }
}

/// The lock, as long as the file is open; nothing while a daemon has it.
///
/// # Errors
/// The file cannot be made or locked.
pub fn try_lock(root: &Path) -> anyhow::Result<Option<File>> {
    let path = root.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
