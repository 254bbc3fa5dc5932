//! What can go wrong in the metastore, by kind: the service maps each to a gRPC code in one place.

use std::path::{Path, PathBuf};

use super::Kind;

/// Why an operation did not happen. Nothing of it is stored then.
#[derive(Debug, thiserror::Error)]
pub enum MetastoreError {
    /// There is no snapshot of that name.
    #[error("snapshot {0:?}: not found")]
    NotFound(String),
    /// The parent that was named does not exist.
    #[error("parent snapshot {0:?}: not found")]
    ParentNotFound(String),
    /// The key or name is taken.
    #[error("snapshot {0:?}: already exists")]
    Exists(String),
    /// A parent must be committed.
    #[error("parent {parent:?} is {kind}, not committed")]
    ParentNotCommitted {
        /// Its key.
        parent: String,
        /// What it is.
        kind: Kind,
    },
    /// As [`MetastoreError::ParentNotCommitted`], when a commit names the parent.
    #[error("cannot commit upon {parent:?}: it is {kind}, not committed")]
    RebaseNotCommitted {
        /// Its key.
        parent: String,
        /// What it is.
        kind: Kind,
    },
    /// A commit may name a parent only if there was none, or the same.
    #[error("cannot commit {key:?} upon {parent:?}: it has another parent already")]
    RebaseMismatch {
        /// Of the active snapshot.
        key: String,
        /// What the commit asked for.
        parent: String,
    },
    /// The operation needs another kind of snapshot.
    #[error("snapshot {key:?} is {kind}, not {wanted}")]
    WrongKind {
        /// Its key.
        key: String,
        /// What it is.
        kind: Kind,
        /// What it should be.
        wanted: &'static str,
    },
    /// Others stand on it. containerd's suite looks for the word "remove".
    #[error("cannot remove snapshot {0:?}: it has children")]
    HasChildren(String),
    /// A chain of parents that does not end: the file was tampered with.
    #[error("the parents of snapshot {0:?} form a circle")]
    Circle(String),
    /// A stored record cannot be read.
    #[error("record {key:?} of the table {table} cannot be read: {cause}")]
    Record {
        /// Which table.
        table: &'static str,
        /// Which record.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The database failed.
    #[error("metadata: {0}")]
    Storage(Box<redb::Error>),
}

macro_rules! from_redb {
    ($($error:ty),*) => { $(
        impl From<$error> for MetastoreError {
            fn from(error: $error) -> Self {
                Self::Storage(Box::new(error.into()))
            }
        }
    )* };
}
from_redb!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// Why the metadata cannot be opened: says which file, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error("{} is in use: another peel serves this root; stop it, or use another --root", .0.display())]
    InUse(PathBuf),
    /// A newer Peel wrote it.
    #[error(
        "{} has format {found}, this peel reads up to {newest}: install the peel that wrote it, or a newer one \
         (docs/metadata-format.md)",
        .file.display()
    )]
    Newer {
        /// Which file.
        file: PathBuf,
        /// What it has.
        found: u64,
        /// What this build knows.
        newest: u64,
    },
    /// It is not a metadata file, or no longer one.
    #[error(
        "{} is damaged ({cause}): restore it from a backup; or give up what is below {1}: `peel reset --root {1}` takes \
         it down and says what to do on containerd's side (docs/metadata-format.md, \"When the file is damaged\")",
        .file.display(), .file.parent().unwrap_or_else(|| Path::new("/")).display()
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What was found.
        cause: String,
    },
    /// The operating system said no.
    #[error("cannot open {}: {cause}", .file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What it said.
        cause: std::io::Error,
    },
}
