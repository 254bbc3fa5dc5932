//! What can go wrong, always with the path that it went wrong at.

use std::{io, path::PathBuf};

/// A failure of the cache or of its index files.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The filesystem said no.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file is not what it was when it was published. The caller resolves the layer again and publishes it,
    /// which replaces the file.
    #[error("{path} is damaged ({reason}); the layer's index has to be built again")]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// The failed check.
        reason: String,
    },
}

/// Why an index was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError<E> {
    /// The files could not be written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The content could not be made.
    #[error("{0}")]
    Content(E),
}
