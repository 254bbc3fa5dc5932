//! Tests over whole layers.

use std::{collections::BTreeSet, convert::Infallible, fs, path::PathBuf, sync::Arc};

use peel_layer::{
    ChunkId, DataOffset, IndexKey, Limits, VerifiedChunk,
    testing::{EStargz, EStargzWriter, TarEntry, decode_chunk},
};

use crate::{BootId, Cache, Config, Layer, Read};

mod content;
mod fsck;
mod gc;
mod index;
mod killed;
mod map;
mod model;
mod recheck;
mod staging;
mod stats;
mod store;
mod threads;

/// State directories that outlive the caches opened on them.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn config(&self, boot: u8) -> Config {
        Config {
            boot: BootId::from_bytes([boot; 16]),
            ..Config::new(self.dir.path().join("index"), self.dir.path().join("cache")).unwrap()
        }
    }

    fn open(&self) -> Cache {
        Cache::open(self.config(1)).unwrap()
    }

    /// The only layer's directory below `index` or `cache`.
    fn only(&self, below: &str) -> PathBuf {
        fs::read_dir(self.dir.path().join(below)).unwrap().next().unwrap().unwrap().path()
    }
}

/// A layer of these files, in chunks of 10,000 bytes at most.
fn blob(files: &[(&str, Vec<u8>)]) -> EStargz {
    let entries: Vec<_> = files.iter().map(|(name, content)| TarEntry::file(name, content)).collect();
    EStargzWriter::new().chunk_size(10_000).entries(&entries).finish()
}

/// Files of several sizes around blocks and chunks, with different content for every `seed`.
fn some_blob(seed: u8) -> EStargz {
    let content = |size: usize, salt: u8| -> Vec<u8> {
        (0..size).map(|at| u8::try_from(at / 7 % 251).unwrap() ^ salt ^ seed).collect()
    };
    blob(&[
        ("a", content(1, 1)),
        ("b", content(4096, 2)),
        ("c", content(35_001, 3)),
        ("d", content(10_000, 4)),
        ("e", Vec::new()),
        ("f", content(20_480, 5)),
        ("g", content(4097, 6)),
    ])
}

fn publish(cache: &Cache, blob: &EStargz) -> Arc<Layer> {
    let indexed = blob.index(&Limits::default()).unwrap();
    cache.publish(&key(blob), |files| indexed.bytes.write_to(files)).unwrap()
}

fn key(blob: &EStargz) -> IndexKey {
    IndexKey { layer: blob.layer(), described_by: blob.toc_digest }
}

fn decoded(layer: &Layer, blob: &EStargz, id: ChunkId) -> VerifiedChunk {
    let index = layer.index();
    decode_chunk(index, id, blob.range(index.blob_range(id))).unwrap().unwrap()
}

fn fill(layer: &Layer, blob: &EStargz) {
    for id in ids(layer) {
        layer.admit(id, &decoded(layer, blob, id));
    }
}

fn ids(layer: &Layer) -> impl Iterator<Item = ChunkId> + use<> {
    (0..layer.index().chunk_count()).map(ChunkId)
}

fn present(layer: &Layer) -> BTreeSet<ChunkId> {
    ids(layer).filter(|id| layer.has(*id)).collect()
}

/// What the whole data file should read as.
fn content(layer: &Layer, blob: &EStargz) -> Vec<u8> {
    let at = |offset: DataOffset| usize::try_from(offset.0).unwrap();
    let mut content = vec![0; at(layer.index().data_size())];
    for id in ids(layer) {
        let data = layer.index().chunk(id).data;
        content[at(data.start)..at(data.end)].copy_from_slice(decoded(layer, blob, id).bytes());
    }
    content
}

fn whole(layer: &Layer) -> Option<Vec<u8>> {
    match layer.read(DataOffset(0)..layer.index().data_size()) {
        Read::Whole(bytes) => Some(bytes.to_vec()),
        Read::Missing(_) => None,
    }
}
