//! Whole layers streamed from sources that do as they are told.

use std::{
    io::Write as _,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use peel_cache::{BootId, Cache, Layer, Read};
use peel_layer::{
    BlobOffset, DataOffset, DiffId, LayerDigest, Limits,
    proof::LayerIdentity,
    stream::Compression,
    testing::{TarEntry, tar},
};
use tokio::runtime::Handle;

use crate::{
    BlobSource, Config, Fetcher, FileSource, SourceError, StreamFailure, StreamProgress, StreamWanted,
};

mod failures;
mod guard;
mod refill;
mod resume;
mod whole;

/// A layer's blob, and what it must become.
struct Blob {
    bytes: Vec<u8>,
    wanted: StreamWanted,
}

impl Blob {
    fn gzip(tar: &[u8]) -> Self {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(tar).unwrap();
        Self::new(out.finish().unwrap(), tar, Compression::Gzip)
    }

    fn new(bytes: Vec<u8>, tar: &[u8], compression: Compression) -> Self {
        let identity = LayerIdentity { layer: LayerDigest::of(&bytes), diff_id: DiffId::of(tar) };
        let wanted = StreamWanted { identity, size: bytes.len() as u64, compression };
        Self { bytes, wanted }
    }

    /// The data file that it must have.
    fn data(&self) -> Vec<u8> {
        let streamed = peel_layer::testing::stream(
            &self.bytes,
            self.wanted.compression,
            &Limits::default(),
            &mut || usize::MAX,
        );
        streamed.unwrap().data
    }
}

/// A tar of files that hardly compress, `seed` telling it from others.
fn some_tar(seed: u8, files: usize, size: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 58).unwrap()
    };
    let entry = |number: usize| {
        TarEntry::file(&format!("d/{number}"), &(0..size + number).map(|_| random()).collect::<Vec<_>>())
    };
    tar(&(0..files).map(entry).collect::<Vec<_>>())
}

/// A small layer: 60 files of 10 KB.
fn some_blob(seed: u8) -> Blob {
    Blob::gzip(&some_tar(seed, 60, 10_000))
}

/// What a source does with a request, after so many right bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// All bytes are right.
    Right,
    /// The body ends.
    End(usize),
    Transient(usize),
    Permanent(usize),
    Hang(usize),
    /// One bit is wrong, and all that follows right.
    Flip(usize),
}

/// A blob in memory and a script: what is done with the request of this number.
struct TestSource {
    name: &'static str,
    bytes: Vec<u8>,
    script: Box<dyn Fn(usize) -> Then + Send + Sync>,
    requests: Mutex<Vec<u64>>,
}

impl TestSource {
    fn new(blob: &Blob, script: impl Fn(usize) -> Then + Send + Sync + 'static) -> Arc<Self> {
        Self::named("registry.test/app", blob, script)
    }

    fn named(
        name: &'static str,
        blob: &Blob,
        script: impl Fn(usize) -> Then + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            bytes: blob.bytes.clone(),
            script: Box::new(script),
            requests: Mutex::default(),
        })
    }

    /// Where each request began.
    fn requests(&self) -> Vec<u64> {
        self.requests.lock().unwrap().clone()
    }
}

impl BlobSource for TestSource {
    fn read(&self, range: Range<BlobOffset>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        let at = |offset: BlobOffset| usize::try_from(offset.0).unwrap();
        async move { Ok(Bytes::copy_from_slice(&self.bytes[at(range.start)..at(range.end)])) }.boxed()
    }

    fn stream(&self, range: Range<BlobOffset>) -> BoxStream<'_, Result<Bytes, SourceError>> {
        let at = |offset: BlobOffset| usize::try_from(offset.0).unwrap();
        let then = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(range.start.0);
            (self.script)(requests.len() - 1)
        };
        let mut bytes = self.bytes[at(range.start)..at(range.end)].to_vec();
        let (right, end): (usize, BoxStream<'_, _>) = match then {
            Then::Right => (usize::MAX, stream::empty().boxed()),
            Then::Flip(place) => {
                bytes[place] ^= 1;
                (usize::MAX, stream::empty().boxed())
            }
            Then::End(right) => (right, stream::empty().boxed()),
            Then::Transient(right) => {
                (right, stream::iter([Err(SourceError::transient(format!("{}: down", self.name)))]).boxed())
            }
            Then::Permanent(right) => {
                (right, stream::iter([Err(SourceError::permanent(format!("{}: gone", self.name)))]).boxed())
            }
            Then::Hang(right) => (right, stream::pending().boxed()),
        };
        bytes.truncate(right);
        // In pieces of an odd length.
        let pieces: Vec<_> = bytes.chunks(10_007).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces).chain(end).boxed()
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    fetcher: Fetcher,
    cache: Arc<Cache>,
    progress: Arc<StreamProgress>,
}

impl Fixture {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(dir: tempfile::TempDir) -> Self {
        let mut config = peel_cache::Config::new(dir.path().join("index"), dir.path().join("cache")).unwrap();
        config.boot = BootId::from_bytes([1; 16]);
        let cache = Arc::new(Cache::open(config).unwrap());
        let fetcher = Fetcher::new(quick(), Arc::clone(&cache), Handle::current());
        Self { dir, fetcher, cache, progress: Arc::default() }
    }

    /// What the next process finds.
    fn restart(self) -> Self {
        let Self { dir, fetcher, cache, progress } = self;
        drop((fetcher, cache, progress));
        Self::on(dir)
    }

    async fn stream(&self, blob: &Blob, sources: &[Arc<TestSource>]) -> Result<Arc<Layer>, StreamFailure> {
        let sources: Vec<_> =
            sources.iter().map(|source| Arc::clone(source) as Arc<dyn BlobSource>).collect();
        self.fetcher.stream(&blob.wanted, &sources, &self.progress).await
    }

    /// Bytes of the blob that wait for the next attempt.
    fn kept(&self, blob: &Blob) -> Option<u64> {
        let path = self.dir.path().join("cache/stream").join(blob.wanted.identity.layer.hex());
        path.exists().then(|| std::fs::metadata(path.join("blob")).map_or(0, |blob| blob.len()))
    }

    /// Nothing of the layer is there.
    fn nothing_is_left(&self, blob: &Blob) {
        assert_eq!(self.kept(blob), None);
        for below in ["index", "cache"] {
            let left: Vec<_> = std::fs::read_dir(self.dir.path().join(below))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .filter(|name| name != "stream")
                .collect();
            assert!(left.is_empty(), "{below}: {left:?}");
        }
    }
}

/// The layer is published, complete, and has the content that it must have.
fn check(blob: &Blob, layer: &Layer) {
    let Read::Whole(found) = layer.read(DataOffset(0)..layer.index().data_size()) else {
        panic!("not all chunks are there");
    };
    let expected = blob.data();
    assert!(found.len() >= expected.len() && found[..expected.len()] == expected[..]);
    assert!((0..layer.index().chunk_count()).all(|id| layer.chunk(peel_layer::ChunkId(id)).is_some()));
}

/// The runtime that the daemon has.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Quick to ask again, and patient: what ends by itself says so.
fn quick() -> Config {
    Config {
        read_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_millis(200),
        backoff: Duration::from_millis(2),
        backoff_max: Duration::from_millis(20),
        ..Config::default()
    }
}
