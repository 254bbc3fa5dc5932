//! What must survive: snapshots, and what the layers' owner keeps beside them. On redb, in one file.
//!
//! Losing this file poisons the node: containerd goes on answering "exists" for snapshots that are gone
//! (contract §0 fact 4). So every change is on disk before it is answered (redb's default durability: fsync at
//! each commit), and the file lives apart from the disposable cache. It stays small, some hundred bytes per
//! snapshot, and so does its page cache. Readers see the store at one moment and block nobody; there is one
//! writer at a time, which never waits for anything but the disk.
//!
//! All functions block for the disk; the service calls them off the runtime's threads. The format is
//! `docs/metadata-format.md`.

mod error;
mod open;
mod record;
mod reserve;
mod snapshots;
mod table;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::{Database, ReadableDatabase as _};

pub use error::{MetastoreError, OpenError};
pub use record::{Kind, Labels, RemoteSnapshot, SnapshotId, SnapshotRecord, Timestamp, Usage};
pub use snapshots::Commit;
pub use table::{ReadTx, Table, WriteTx};

/// Name of the file in the state directory.
pub const FILE: &str = "metadata.redb";

/// Deletes the store in the state directory `root`, damaged or not. Nobody may have it open.
///
/// # Errors
/// What the filesystem says, but for what is not there.
pub fn delete(root: &Path) -> io::Result<()> {
    let file = root.join(FILE);
    // The store itself last: as long as it is there, this can be done again.
    for path in [&reserve::path(&file), &file] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The open metadata file. One process has it at a time.
#[derive(Debug)]
pub struct Metastore {
    database: Database,
    /// The next snapshot's id; at least what is stored.
    next_id: AtomicU64,
    reserve: Arc<reserve::Reserve>,
}

impl Metastore {
    /// Looks at the store as it is now.
    ///
    /// # Errors
    /// The store cannot be read; or the error of `look`.
    pub fn read<T, E: From<MetastoreError>>(
        &self,
        look: impl FnOnce(&ReadTx) -> Result<T, E>,
    ) -> Result<T, E> {
        look(&self.snapshot()?)
    }

    /// The store as it is now, to be looked at in several steps.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn snapshot(&self) -> Result<ReadTx, MetastoreError> {
        Ok(ReadTx(self.database.begin_read()?))
    }

    /// Changes the store: what `change` did is on disk when this returns, or did not happen if it failed.
    ///
    /// # Errors
    /// The store cannot be written; or the error of `change`.
    pub fn write<T, E: From<MetastoreError>>(
        &self,
        change: impl FnOnce(&WriteTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.database.begin_write().map_err(MetastoreError::from)?;
        let changed = change(&WriteTx(&transaction))?;
        transaction.commit().map_err(MetastoreError::from)?;
        Ok(changed)
    }

    /// Sets aside again what was written to because the disk was full, if it has room.
    pub fn restore_reserve(&self) {
        self.reserve.restore();
    }

    /// A new snapshot's id. Taken before the snapshot is stored, so that its directories are made outside the
    /// write transaction; an id whose snapshot was never stored is lost.
    pub fn allocate_id(&self) -> SnapshotId {
        SnapshotId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits for the change under way and lets no other begin, for the rest of the process's life: it may then
    /// end at any instruction.
    pub fn quiesce(&self) {
        match self.database.begin_write() {
            Ok(transaction) => std::mem::forget(transaction),
            Err(error) => tracing::warn!(%error, "the metadata could not be quiesced"),
        }
    }
}
