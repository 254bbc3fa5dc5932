//! Reads of whole layers against sources that do as they are told.

use std::{
    ops::Range,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use peel_cache::{BootId, Cache, Layer};
use peel_layer::{
    BlobOffset, ChunkId, DataOffset, IndexKey, Limits,
    testing::{EStargz, EStargzWriter, TarEntry, decode_chunk},
};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{BlobSource, Config, Fetcher, LayerReader, SourceError};

mod complete;
mod failures;
mod flights;
mod lanes;
mod requests;
mod sharing;
mod stress;

/// What a source does with a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Right,
    /// Right length, one bit flipped in the first unit. (Not in byte 10: a stored block begins with ignored bits.)
    Wrong,
    Short,
    Transient,
    /// Wants to be left alone for so long.
    Busy(Duration),
    Permanent,
    Hang,
    Panic,
}

/// A blob in memory, a script of answers, and a gate.
struct TestSource {
    name: &'static str,
    blob: Vec<u8>,
    /// The answer to the read with this number, counted from 0.
    script: Box<dyn Fn(usize) -> Answer + Send + Sync>,
    reads: Mutex<Vec<Range<u64>>>,
    /// Every read takes a permit for good.
    gate: Semaphore,
    count: AtomicUsize,
}

impl TestSource {
    fn new(blob: &EStargz, script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Self::named("registry.test/app", blob, script)
    }

    fn named(
        name: &'static str,
        blob: &EStargz,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::of_bytes(name, blob.blob.clone(), script)
    }

    fn of_bytes(
        name: &'static str,
        blob: Vec<u8>,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            blob,
            script: Box::new(script),
            reads: Mutex::default(),
            gate: Semaphore::new(1 << 20),
            count: AtomicUsize::new(0),
        })
    }

    /// With a closed gate: reads are held until permits are added.
    fn held(blob: &EStargz) -> Arc<Self> {
        let source = Self::new(blob, |_| Answer::Right);
        source.gate.forget_permits(1 << 20);
        source
    }

    fn reads(&self) -> Vec<Range<u64>> {
        self.reads.lock().clone()
    }

    fn only_read(&self) -> Range<u64> {
        let reads = self.reads();
        assert_eq!(reads.len(), 1, "{reads:?}");
        reads[0].clone()
    }
}

impl BlobSource for TestSource {
    fn read(&self, range: Range<BlobOffset>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        async move {
            let number = self.count.fetch_add(1, Ordering::SeqCst);
            self.reads.lock().push(range.start.0..range.end.0);
            self.gate.acquire().await.unwrap().forget();
            let index = |at: BlobOffset| usize::try_from(at.0).unwrap();
            let mut bytes = self.blob[index(range.start)..index(range.end)].to_vec();
            match (self.script)(number) {
                Answer::Right => {}
                Answer::Wrong => bytes[20] ^= 0x40,
                Answer::Short => bytes.truncate(bytes.len() - 1),
                Answer::Transient => return Err(SourceError::transient(format!("{}: down", self.name))),
                Answer::Busy(pause) => {
                    let message = format!("{}: too many requests", self.name);
                    return Err(SourceError::Transient { message, after: Some(pause) });
                }
                Answer::Permanent => return Err(SourceError::permanent(format!("{}: gone", self.name))),
                Answer::Hang => std::future::pending().await,
                Answer::Panic => panic!("as told"),
            }
            Ok(bytes.into())
        }
        .boxed()
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    cache: Arc<Cache>,
    fetcher: Fetcher,
}

impl Fixture {
    fn new() -> Self {
        Self::with(quiet())
    }

    fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Arc::new(Cache::open(cache_config(&dir)).unwrap());
        let fetcher = Fetcher::new(config, Arc::clone(&cache), Handle::current());
        Self { dir, cache, fetcher }
    }

    fn publish(&self, blob: &EStargz) -> Arc<Layer> {
        let indexed = blob.index(&Limits::default()).unwrap();
        self.cache.publish(&key(blob), |files| indexed.bytes.write_to(files)).unwrap()
    }

    fn reader(&self, blob: &EStargz, sources: &[&Arc<TestSource>]) -> Arc<LayerReader> {
        let sources = sources.iter().map(|source| Arc::clone(*source) as Arc<dyn BlobSource>).collect();
        self.fetcher.layer(self.publish(blob), sources)
    }
}

fn cache_config(dir: &tempfile::TempDir) -> peel_cache::Config {
    peel_cache::Config {
        boot: BootId::from_bytes([1; 16]),
        ..peel_cache::Config::new(dir.path().join("index"), dir.path().join("cache")).unwrap()
    }
}

/// Fetches what is asked for and nothing else, so that requests can be counted.
fn quiet() -> Config {
    Config { gap: 0, range_min: 0, readahead_max: 0, ..Config::default() }
}

fn key(blob: &EStargz) -> IndexKey {
    IndexKey { layer: blob.layer(), described_by: blob.toc_digest }
}

/// Bytes that do not compress well, so that places in blob and data file grow alike.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    use rand::{RngCore as _, SeedableRng as _};
    let mut bytes = vec![0; length];
    rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// `files` files of `length` bytes, in chunks of 64 KiB.
fn blob_of(files: usize, length: usize, seed: u64) -> EStargz {
    let file = |number: usize| {
        TarEntry::file(&format!("f{number:04}"), &noise(length, seed * 10_000 + number as u64))
    };
    let entries: Vec<_> = (0..files).map(file).collect();
    EStargzWriter::new().chunk_size(64 << 10).entries(&entries).finish()
}

/// What the whole data file should read as.
fn content(layer: &Layer, blob: &EStargz) -> Vec<u8> {
    let at = |offset: DataOffset| usize::try_from(offset.0).unwrap();
    let index = layer.index();
    let mut content = vec![0; at(index.data_size())];
    for id in (0..index.chunk_count()).map(ChunkId) {
        let chunk = index.chunk(id);
        let decoded = decode_chunk(index, id, blob.range(index.blob_range(id))).unwrap();
        content[at(chunk.data.start)..at(chunk.data.end)].copy_from_slice(decoded.unwrap().bytes());
    }
    content
}

fn everything(reader: &LayerReader) -> Range<DataOffset> {
    DataOffset(0)..reader.layer().index().data_size()
}

fn chunk(reader: &LayerReader, id: u32) -> Range<DataOffset> {
    reader.layer().index().chunk(ChunkId(id)).data
}

/// Lets other tasks go on until `done`, which must come without time passing.
async fn until(done: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if done() {
            return;
        }
        // Blocking threads need real time, whatever the paused clock says.
        std::thread::sleep(Duration::from_micros(100));
        tokio::task::yield_now().await;
    }
    panic!("it did not happen");
}
