//! What blobs turned out to be when they were read whole: a durable list, all of it in memory.
//!
//! A blob's digest settles what its uncompressed content is, so an entry is true for every image that has the blob, and
//! nothing else has to be remembered of a quarantine: a snapshot that claims another diff id than the list has is in
//! quarantine, before and after a restart.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use peel_fetch::Content;
use peel_layer::LayerDigest;
use peel_proto::peel::metadata::v1 as stored;

use crate::metastore::{Metastore, MetastoreError, Table};

const CONTENTS: Table<&'static str, stored::Content> = Table::new("contents");

/// See the module's header.
#[derive(Debug)]
pub struct Contents {
    metastore: Arc<Metastore>,
    known: RwLock<HashMap<LayerDigest, Content>>,
    /// Blobs whose content was found since the start.
    found: AtomicU64,
    /// Of those, blobs that some image had lied about.
    contradictions: AtomicU64,
}

impl Contents {
    /// With what `metastore` has. Entries that cannot be understood are left out: those blobs are read again.
    ///
    /// # Errors
    /// The metastore cannot be read.
    pub fn load(metastore: Arc<Metastore>) -> Result<Self, MetastoreError> {
        let mut known = HashMap::new();
        metastore.read(|tx| {
            tx.for_each(&CONTENTS, |layer, content| {
                known.extend(layer.parse().ok().zip(decode(&content)));
                Ok(())
            })
        })?;
        let (found, contradictions) = Default::default();
        Ok(Self { metastore, known: RwLock::new(known), found, contradictions })
    }

    /// What is in the blob, if it was read whole.
    pub(super) fn get(&self, layer: &LayerDigest) -> Option<Content> {
        self.known.read().get(layer).cloned()
    }

    /// Notes what was found in the blob. Blocks on the disk.
    pub(super) fn note(&self, layer: LayerDigest, content: Content) -> Result<(), MetastoreError> {
        let stored = encode(&content);
        self.metastore.write(|tx| tx.put(&CONTENTS, layer.to_string().as_str(), &stored))?;
        self.known.write().insert(layer, content);
        self.found.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets the blob: no snapshot shows it any more. Blocks on the disk if it was known.
    pub(super) fn forget(&self, layer: &LayerDigest) -> Result<(), MetastoreError> {
        if self.get(layer).is_some() {
            self.metastore.write(|tx| tx.delete(&CONTENTS, layer.to_string().as_str()))?;
            self.known.write().remove(layer);
        }
        Ok(())
    }

    /// Counts a blob whose image had lied.
    pub(super) fn count_contradiction(&self) {
        self.contradictions.fetch_add(1, Ordering::Relaxed);
    }

    /// Blobs whose content was found since the start, and how many of them an image had lied about.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.found.load(Ordering::Relaxed), self.contradictions.load(Ordering::Relaxed))
    }
}

fn encode(content: &Content) -> stored::Content {
    match content {
        Content::Tar(diff_id) => stored::Content { diff_id: diff_id.to_string(), ..Default::default() },
        Content::Undecodable(problem) => stored::Content { problem: problem.clone(), ..Default::default() },
    }
}

fn decode(content: &stored::Content) -> Option<Content> {
    if content.diff_id.is_empty() && !content.problem.is_empty() {
        return Some(Content::Undecodable(content.problem.clone()));
    }
    content.diff_id.parse().ok().map(Content::Tar)
}

#[cfg(test)]
mod tests {
    use peel_layer::DiffId;

    use super::*;

    #[test]
    fn durable_until_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metadata.redb");
        let load = || Contents::load(Arc::new(Metastore::open(&path).unwrap())).unwrap();
        let layers = [LayerDigest::of(b"a"), LayerDigest::of(b"b")];
        let found = [Content::Tar(DiffId::of(b"tar")), Content::Undecodable("cut short".to_owned())];
        let contents = load();
        for (layer, content) in layers.iter().zip(&found) {
            contents.note(*layer, content.clone()).unwrap();
        }
        assert_eq!(contents.counts(), (2, 0));
        drop(contents);
        let contents = load();
        assert_eq!(layers.map(|layer| contents.get(&layer).unwrap()), found);
        contents.forget(&layers[0]).unwrap();
        assert_eq!(contents.get(&layers[0]), None);
        drop(contents);
        assert_eq!(load().get(&layers[0]), None);
    }
}
