//! A blob that is on this node already: containerd's content store has those of imported images, and of images
//! that were pulled under overlayfs before.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use peel_layer::BlobOffset;

use crate::{BlobSource, SourceError};

/// A local file with the blob's bytes. Opened for each read: containerd may delete it at any time, and then the
/// next source is asked.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
}

impl FileSource {
    /// The file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl BlobSource for FileSource {
    fn read(&self, range: Range<BlobOffset>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        async move {
            let (path, text) = (self.path.clone(), self.describe());
            let read = move || -> io::Result<Bytes> {
                let length = range.end.0.saturating_sub(range.start.0);
                let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                File::open(path)?.read_exact_at(&mut bytes, range.start.0)?;
                Ok(bytes.into())
            };
            let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other).flatten();
            // A file that is gone or short does not come back.
            read.map_err(|error| SourceError::permanent(format!("{text}: {error}")))
        }
        .boxed()
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.path)
    }
}
