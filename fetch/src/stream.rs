//! Streaming a layer that has no index: read once from end to end at the speed of the link, published with all its
//! content when it is proven to be what its image says.
//!
//! ```text
//!  sources ─▶ download ─▶ blob file ─▶ inflate ─▶ buffers ─▶ index and store ─▶ data file
//!            sha256: layer  (the pipe)   units     4 × 512 KiB  sha256: diff id, chunks
//! ```
//!
//! Three threads a layer, because no two of these steps fit on one core: inflating makes some 480 MB/s, the two digests
//! over the content together 750, the network and the layer's digest more than 1,000 (ceilings.md §6). So a single large
//! layer uses two cores, and they are evenly loaded. Between the first two lies the staging file of the cache, whose
//! pages the inflater reads right behind the download: memory is bounded whatever the difference in speed, the
//! download runs ahead as far as there is disk, and a later attempt begins with what is there.
//!
//! A failure of the network keeps what came. Wrong bytes are found by the decoder, or at the latest by the layer's
//! digest; the layer is then streamed once more from the beginning, from other sources if there are any. What is wrong
//! with bytes that have the right digest is the image's fault, and final; where the decoder gave up before all were there,
//! nobody knows whose fault it is, and a second look costs no more than the first.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use peel_cache::{Layer, Staged};
use peel_layer::{IndexKey, Limits, proof::LayerIdentity, stream::Compression};

use crate::{BlobSource, Fetcher, fetcher::Shared, schedule::LayerNumber};
use attempt::{Attempt, Failed};
pub use failure::StreamFailure;
use guard::Guard;

mod attempt;
mod data;
mod download;
mod failure;
mod guard;
mod inflate;
mod pipe;
mod publish;
pub(crate) mod refill;
mod threads;

#[cfg(test)]
mod tests;

/// Longest wait for others who stream the same blob: an attempt that was cancelled, which takes milliseconds, or an
/// image that claims another diff id for it, which takes as long as the download.
const LET_GO: Duration = Duration::from_secs(600);

/// A layer to stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamWanted {
    /// What its image says of it.
    pub identity: LayerIdentity,
    /// Bytes of the blob, from the manifest.
    pub size: u64,
    /// What its media type announces.
    pub compression: Compression,
}

/// How far a layer is, for whoever watches from another task.
#[derive(Debug, Default)]
pub struct StreamProgress {
    total: AtomicU64,
    fetched: AtomicU64,
    stored: AtomicU64,
}

impl StreamProgress {
    /// Bytes of the blob; 0 before the work has begun.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Of those, the bytes that are on this node.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Uncompressed bytes that were indexed and stored. How many there will be nobody knows.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    fn restart(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.fetched.store(0, Ordering::Relaxed);
        self.stored.store(0, Ordering::Relaxed);
    }

    fn fetch(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    fn store(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Fetcher {
    /// Streams a layer and publishes it under [`IndexKey::streamed`]. Sources are asked in their order. The time it
    /// takes is not bounded, but that without progress is: by [`crate::Config::read_timeout`].
    ///
    /// Dropping the future ends the work soon; what came stays for the next attempt.
    ///
    /// # Errors
    /// [`StreamFailure`].
    pub async fn stream(
        &self,
        wanted: &StreamWanted,
        sources: &[Arc<dyn BlobSource>],
        progress: &Arc<StreamProgress>,
    ) -> Result<Arc<Layer>, StreamFailure> {
        let shared = self.shared();
        let _turn = shared.streams.acquire().await;
        let key = IndexKey::streamed(wanted.identity.layer, wanted.identity.diff_id);
        if let Ok(Some(layer)) = shared.cache.layer(&key) {
            return Ok(layer);
        }
        let number = self.next_number();
        let guard = Guard::new(shared, wanted.identity.layer);
        let mut stream = Stream { shared: Arc::clone(shared), number, wanted: *wanted, guard, progress };
        stream.run(sources).await
    }
}

/// One layer on its way.
struct Stream<'a> {
    shared: Arc<Shared>,
    number: LayerNumber,
    wanted: StreamWanted,
    guard: Guard,
    progress: &'a Arc<StreamProgress>,
}

impl Stream<'_> {
    async fn run(&mut self, sources: &[Arc<dyn BlobSource>]) -> Result<Arc<Layer>, StreamFailure> {
        let mut staged = self.folder().await?;
        if let Err(error) = self.guard.check() {
            return Err(self.keep_or_discard(staged, error));
        }
        let mut sources = sources.to_vec();
        let mut second = false;
        loop {
            let attempt = Attempt::begin(self, staged, &sources)?;
            let Failed { error, staged: folder, giver, is_the_blob } = match attempt.run(self.progress).await
            {
                Ok(whole) => return publish::publish(self, whole).await,
                Err(failed) => failed,
            };
            let Some(folder) = folder else { return Err(error) };
            let StreamFailure::Content { .. } = &error else {
                return Err(self.keep_or_discard(folder, error));
            };
            let honest = |source: &&Arc<dyn BlobSource>| giver.as_ref() != Some(&source.describe());
            let others: Vec<_> = sources.iter().filter(honest).cloned().collect();
            if second || is_the_blob {
                return Err(self.keep_or_discard(folder, error));
            }
            tracing::warn!(layer = %self.wanted.identity.layer, %error, "streamed once more from the beginning");
            folder.blob().and_then(|blob| blob.cut(0)).map_err(|error| StreamFailure::local(&error))?;
            (staged, second) = (folder, true);
            if !others.is_empty() {
                sources = others;
            }
        }
    }

    /// What came is of use later, unless it is wrong, or what the disk is full of.
    fn keep_or_discard(&self, staged: Staged, error: StreamFailure) -> StreamFailure {
        if error.keeps_bytes() {
            drop(staged);
        } else if let Err(error) = staged.discard() {
            tracing::warn!(layer = %self.wanted.identity.layer, %error, "what was streamed is left behind");
        }
        error
    }

    /// The layer's folder; somebody who was told to end may still have it.
    async fn folder(&self) -> Result<Staged, StreamFailure> {
        let layer = self.wanted.identity.layer;
        let pause = Duration::from_millis(20);
        for _ in 0..LET_GO.as_millis() / pause.as_millis() {
            match self.shared.cache.staging(layer).map_err(|error| StreamFailure::local(&error))? {
                Some(staged) => return Ok(staged),
                None => tokio::time::sleep(pause).await,
            }
        }
        Err(StreamFailure::Local { message: format!("layer {layer} is being streamed already"), full: false })
    }
}

/// The first source that is a file with the whole blob, opened, and its name.
fn local_file(sources: &[Arc<dyn BlobSource>], size: u64) -> Option<(File, String)> {
    sources.iter().find_map(|source| {
        let file = File::open(source.file()?).ok()?;
        (file.metadata().ok()?.len() == size).then(|| (file, source.describe()))
    })
}

/// What an index may cost.
fn limits() -> Limits {
    Limits::default()
}
