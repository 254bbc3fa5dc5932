//! Where a layer's blob can be read: a durable list of the images that have it.
//!
//! One blob is in many images, in many repositories, with different credentials. The newest reference comes
//! first: its pull is the one that just worked, and an error that names an image names that one.

use std::sync::Arc;

use peel_layer::LayerDigest;
use peel_proto::peel::metadata::v1 as stored;

use crate::metastore::{Metastore, MetastoreError, RemoteSnapshot, Table};

pub(super) use peel_proto::peel::metadata::v1::BlobSource;

const BLOBS: Table<&'static str, stored::Blob> = Table::new("blobs");

/// Sources that are kept for a blob. Base layers are in hundreds of images; a few of them are enough.
const KEPT: usize = 8;

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Blobs {
    metastore: Arc<Metastore>,
}

impl Blobs {
    /// On `metastore`.
    #[must_use]
    pub fn new(metastore: Arc<Metastore>) -> Self {
        Self { metastore }
    }

    /// Where `layer` can be read, newest first.
    ///
    /// # Errors
    /// The metastore cannot be read.
    pub fn sources(&self, layer: &LayerDigest) -> Result<Vec<BlobSource>, MetastoreError> {
        let blob = self.metastore.read(|tx| tx.get(&BLOBS, layer.to_string().as_str()))?;
        Ok(blob.unwrap_or_default().sources)
    }

    /// Notes that the image of `snapshot` has its layer. Blocks on the disk, if it was not noted before.
    ///
    /// # Errors
    /// The metastore cannot be written.
    pub fn note(&self, snapshot: &RemoteSnapshot) -> Result<(), MetastoreError> {
        let source = BlobSource {
            image_ref: snapshot.image_ref.clone(),
            manifest_digest: snapshot.manifest_digest.clone(),
            size: snapshot.layer_size,
            media_type: snapshot.media_type.clone(),
        };
        let key = snapshot.layer_digest.as_str();
        let blob: Option<stored::Blob> = self.metastore.read(|tx| tx.get(&BLOBS, key))?;
        if blob.is_some_and(|blob| blob.sources.first() == Some(&source)) {
            return Ok(());
        }
        self.metastore.write(|tx| {
            let mut blob = tx.get(&BLOBS, key)?.unwrap_or_default();
            blob.sources.retain(|other| *other != source);
            blob.sources.insert(0, source);
            blob.sources.truncate(KEPT);
            tx.put(&BLOBS, key, &blob)
        })
    }

    /// Forgets the blob: no snapshot shows it any more.
    ///
    /// # Errors
    /// The metastore cannot be written.
    pub fn forget(&self, layer: &LayerDigest) -> Result<(), MetastoreError> {
        self.metastore.write(|tx| tx.delete(&BLOBS, layer.to_string().as_str())).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_first_bounded_and_durable() {
        let dir = tempfile::tempdir().unwrap();
        let metastore = Arc::new(Metastore::open(&dir.path().join("metadata.redb")).unwrap());
        let (blobs, layer) = (Blobs::new(metastore), LayerDigest::of(b"layer"));
        let snapshot = |image: usize| RemoteSnapshot {
            layer_digest: layer.to_string(),
            image_ref: format!("r.example/app:{image}"),
            ..RemoteSnapshot::default()
        };
        for image in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 5] {
            blobs.note(&snapshot(image)).unwrap();
        }
        let images: Vec<_> =
            blobs.sources(&layer).unwrap().into_iter().map(|source| source.image_ref).collect();
        assert_eq!(images.len(), KEPT);
        assert_eq!(images[..3], ["r.example/app:5", "r.example/app:9", "r.example/app:8"]);
        blobs.forget(&layer).unwrap();
        assert!(blobs.sources(&layer).unwrap().is_empty());
    }
}
