//! The places that have a layer's blob, in the order in which they are asked.
//!
//! First containerd's own content store: an image that was imported, or pulled under overlayfs before, costs no
//! network. Then the registries of the images that the blob is in, newest image first.

use std::{ops::Range, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use peel_fetch::{BlobSource, FileSource, RegistrySource};
use peel_layer::{BlobOffset, LayerDigest};
use peel_registry::{Client, Digest, ErrorKind, ImageReference};

use super::{blobs, error::Cause};

/// One place. Gate and readers ask it in different ways: the gate needs to know what kind of failure it was.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file of containerd's content store.
    File(PathBuf),
    /// A registry.
    Registry(peel_registry::Blob),
}

/// A place did not give the bytes.
#[derive(Debug)]
pub struct PlaceError {
    /// What kind of failure.
    pub cause: Cause,
    /// What happened, with host and remedy.
    pub detail: String,
}

impl Place {
    /// The places of `layer`: `file`, and the registries of `sources`. References that cannot be parsed are left
    /// out; they came from a label.
    pub fn all(
        client: &Client,
        layer: &LayerDigest,
        file: Option<PathBuf>,
        sources: &[blobs::BlobSource],
    ) -> Vec<Self> {
        let digest = Digest::sha256(layer.as_bytes());
        let registry = |source: &blobs::BlobSource| {
            let reference: ImageReference = source.image_ref.parse().ok()?;
            client.blob(&reference, digest.clone(), Some(source.size)).ok().map(Self::Registry)
        };
        file.map(Self::File).into_iter().chain(sources.iter().filter_map(registry)).collect()
    }

    /// For messages: a path, or host and repository.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Registry(blob) => RegistrySource::new(blob.clone()).describe(),
        }
    }

    /// Reads exactly `range`.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub async fn read(&self, range: Range<BlobOffset>) -> Result<Bytes, PlaceError> {
        match self {
            Self::File(path) => FileSource::new(path.clone())
                .read(range)
                .await
                .map_err(|error| PlaceError { cause: Cause::Local, detail: error.to_string() }),
            Self::Registry(blob) => blob
                .read(range.start.0..range.end.0)
                .await
                .map_err(|error| PlaceError { cause: cause(error.kind()), detail: error.to_string() }),
        }
    }

    /// As the fetcher wants it; a registry is waited for as long as `patience` at a time.
    #[must_use]
    pub fn into_source(self, patience: Duration) -> Arc<dyn BlobSource> {
        match self {
            Self::File(path) => Arc::new(FileSource::new(path)),
            Self::Registry(blob) => Arc::new(RegistrySource::new(blob).patience(patience)),
        }
    }
}

/// What it means for a layer.
pub(super) fn cause(kind: &ErrorKind) -> Cause {
    match kind {
        ErrorKind::Unauthorized => Cause::Unauthenticated,
        ErrorKind::Forbidden => Cause::Forbidden,
        ErrorKind::Tls => Cause::Tls,
        ErrorKind::NotFound => Cause::Missing,
        _ => Cause::Unavailable,
    }
}
