//! Disk space set aside for the metadata: what is removed on a full disk must be written down, too.
//!
//! redb fails all later calls once a write has failed, until the file is opened anew. So it does not see that the disk
//! is full: the file that it writes to ([`Backend`]) gives up a piece of the reserve, a file of that size beside the
//! metadata, and writes again. The pieces are small, since whoever filled the disk takes what is left of one. The
//! reserve is made whole again when there is room.

use std::{
    fs::File,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend, backends::FileBackend};
use rustix::fs::FallocateFlags;

/// Thousands of changes: each writes some pages of 4 KiB, most of them in place of others.
pub(super) const SIZE: u64 = 4 << 20;
/// What is given up at once.
const PIECE: u64 = 256 << 10;

/// Where it is, for the metadata in `metadata`.
pub(super) fn path(metadata: &Path) -> PathBuf {
    metadata.with_extension("reserve")
}

/// The space.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    file: Mutex<File>,
}

impl Reserve {
    /// The one for the metadata in `metadata`, beside it; as large as the disk has room for.
    pub(super) fn open(metadata: &Path) -> io::Result<Self> {
        let path = path(metadata);
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        let reserve = Self { path, file: Mutex::new(file) };
        reserve.restore();
        Ok(reserve)
    }

    /// Makes it whole again, if the disk has room for more than that.
    pub(super) fn restore(&self) {
        let file = self.file.lock();
        let whole = file.metadata().map(|found| found.len() >= SIZE);
        if !matches!(whole, Ok(false)) || !has_room(&file) {
            return;
        }
        if let Err(error) = rustix::fs::fallocate(&*file, FallocateFlags::empty(), 0, SIZE) {
            tracing::warn!(path = %self.path.display(), %error, "no disk space is set aside for the metadata");
        }
    }

    /// Gives a piece up; false if there is none left.
    fn give_up(&self) -> bool {
        let file = self.file.lock();
        let left = file.metadata().ok().and_then(|found| found.len().checked_sub(PIECE));
        let Some(left) = left else { return false };
        tracing::warn!(left, "the disk is full: the metadata are written to what was set aside for them");
        // Journals free what was given up when they are written.
        file.set_len(left).and_then(|()| file.sync_all()).is_ok()
    }
}

/// Whether there is room for the reserve and as much again, for those who are not root, too.
fn has_room(file: &File) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= 2 * SIZE)
}

/// The metadata's file, on a disk that is never full.
#[derive(Debug)]
pub(super) struct Backend {
    file: FileBackend,
    reserve: Arc<Reserve>,
}

impl Backend {
    pub(super) fn new(file: FileBackend, reserve: &Arc<Reserve>) -> Self {
        Self { file, reserve: Arc::clone(reserve) }
    }

    fn with_reserve(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            match write() {
                Err(error) if error.kind() == io::ErrorKind::StorageFull && self.reserve.give_up() => {}
                outcome => return outcome,
            }
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with_reserve(|| self.file.set_len(len))
    }

    // Once it has failed, what it was to write may be lost: never again.
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with_reserve(|| self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
