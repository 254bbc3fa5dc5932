//! The first thread: from the sources to the blob file, and the layer's digest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use peel_layer::{BlobOffset, LayerDigest};
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};

use super::{StreamFailure, StreamProgress, pipe::Pipe};
use crate::{
    BlobSource, Lane, Refusal, SourceError,
    fetcher::Shared,
    retry::jittered,
    schedule::{LayerNumber, Ticket},
    stats::Counters,
};

/// What a download needs.
pub(super) struct Download {
    pub(super) shared: Arc<Shared>,
    pub(super) number: LayerNumber,
    pub(super) pipe: Arc<Pipe>,
    pub(super) sources: Vec<Arc<dyn BlobSource>>,
    pub(super) size: u64,
    pub(super) progress: Arc<StreamProgress>,
}

/// Where a download stands.
struct Place {
    at: u64,
    hash: Sha256,
    last_error: String,
    /// A source said no for good, and of which kind it was.
    refusal: Option<Refusal>,
}

impl Download {
    /// Has all bytes in the file; nothing when the work was ended by somebody else. Blocks; a thread of its own runs it.
    pub(super) fn run(&self) -> Result<Option<LayerDigest>, StreamFailure> {
        let mut place =
            Place { at: 0, hash: Sha256::new(), last_error: "no source is known".to_owned(), refusal: None };
        if !self.hash_what_is_here(&mut place)? {
            return Ok(None);
        }
        let whole = self.shared.handle.block_on(self.rounds(&mut place))?;
        Ok(whole.then(|| LayerDigest::from_bytes(place.hash.finalize().into())))
    }

    /// An earlier attempt's bytes, or a local file's. Says whether to go on.
    fn hash_what_is_here(&self, place: &mut Place) -> Result<bool, StreamFailure> {
        let (available, mut buffer) = (self.pipe.available(), vec![0; 256 << 10]);
        while place.at < available {
            if self.pipe.is_closed() {
                return Ok(false);
            }
            let read =
                self.pipe.read_now(place.at, &mut buffer).map_err(|error| StreamFailure::local(&error))?;
            if read == 0 {
                let error = super::pipe::vanished();
                return Err(StreamFailure::Local { message: error.to_string(), full: false });
            }
            place.hash.update(&buffer[..read]);
            place.at += read as u64;
            self.progress.fetch(read as u64);
        }
        Ok(true)
    }

    /// Asks the sources in turn, then pauses, then in turn again, until all bytes are here; says whether they are.
    /// Gives up after [`crate::Config::read_timeout`] in which not one came.
    async fn rounds(&self, place: &mut Place) -> Result<bool, StreamFailure> {
        let config = self.shared.config();
        let (mut pause, mut rounds, mut moved, mut after) = (config.backoff, 0, Instant::now(), None);
        while place.at < self.size {
            let before = place.at;
            place.refusal = None;
            let mut permanent = true;
            for source in &self.sources {
                let name = source.describe();
                let outcome = self.ask(source.as_ref(), &name, place).await;
                match outcome {
                    Ok(()) => {}
                    Err(Broken::Here(error)) => return Err(error),
                    Err(Broken::Ended) => return Ok(false),
                    Err(Broken::There(error)) => {
                        tracing::debug!(%error, "source failed");
                        place.last_error = error.to_string();
                        match error {
                            SourceError::Transient { after: wanted, .. } => {
                                (permanent, after) = (false, wanted)
                            }
                            SourceError::Permanent { refusal, .. } => place.refusal = Some(refusal),
                        }
                    }
                }
                if place.at == self.size {
                    return Ok(true);
                }
            }
            if place.at > before {
                (pause, rounds, moved) = (config.backoff, 0, Instant::now());
            }
            rounds += 1;
            let is_over = moved.elapsed() >= config.read_timeout;
            if is_over || (permanent && rounds >= config.permanent_rounds) {
                let message = format!("{} of {} bytes came: {}", place.at, self.size, place.last_error);
                return Err(StreamFailure::Unavailable { message, refusal: place.refusal });
            }
            if !self.rest(config.pause(pause, after.take()), moved).await {
                return Ok(false);
            }
            Counters::add(&self.shared.counters.retries, 1);
            pause = pause.saturating_mul(2).min(config.backoff_max);
        }
        Ok(true)
    }

    /// Pauses, but not past the end of all patience; says whether to go on.
    async fn rest(&self, pause: Duration, moved: Instant) -> bool {
        let left = self.shared.config().read_timeout.saturating_sub(moved.elapsed());
        let end = Instant::now() + jittered(pause).min(left);
        while Instant::now() < end && !self.pipe.is_closed() {
            sleep(end.saturating_duration_since(Instant::now()).min(Duration::from_millis(100))).await;
        }
        !self.pipe.is_closed()
    }

    /// One request for everything that is missing.
    async fn ask(&self, source: &dyn BlobSource, name: &str, place: &mut Place) -> Result<(), Broken> {
        // A pull waits for this as a reader does for his chunk: what is in the background makes way.
        let _permit = self.shared.scheduler.permit(self.number, &Ticket::new(Lane::Demand)).await;
        let patience = self.shared.config().request_timeout;
        let counters = &self.shared.counters;
        Counters::add(&counters.requests, 1);
        let counter = counters.received(source, Lane::Demand);
        let mut stream = source.stream(BlobOffset(place.at)..BlobOffset(self.size));
        while place.at < self.size {
            if self.pipe.is_closed() {
                return Err(Broken::Ended);
            }
            let silent = |_| {
                Some(Err(SourceError::transient(format!(
                    "{name}: nothing came for {} s",
                    patience.as_secs_f32()
                ))))
            };
            let Some(bytes) = timeout(patience, stream.next()).await.unwrap_or_else(silent) else {
                return Err(Broken::There(SourceError::transient(format!("{name}: the body ended early"))));
            };
            let bytes = bytes.map_err(Broken::There)?;
            let left = usize::try_from(self.size - place.at).unwrap_or(usize::MAX);
            let bytes = bytes.slice(..left.min(bytes.len()));
            self.pipe
                .append(place.at, &bytes, name)
                .map_err(|error| Broken::Here(StreamFailure::local(&error)))?;
            place.hash.update(&bytes);
            place.at += bytes.len() as u64;
            self.progress.fetch(bytes.len() as u64);
            Counters::add(counter, bytes.len() as u64);
        }
        Ok(())
    }
}

/// Why a request gave no more.
enum Broken {
    /// The source's fault.
    There(SourceError),
    /// This node's.
    Here(StreamFailure),
    /// Nobody wants it any more.
    Ended,
}
