//! Reads of one layer's data file.

use std::{fmt, ops::Range, sync::Arc};

use parking_lot::{Mutex, RwLock};
use peel_cache::{Layer, Read};
use peel_layer::{ChunkId, DataOffset, VerifiedBytes, VerifiedChunk, serve::ReadError, verified::Assembly};
use tokio::time::{Instant, timeout_at};

use crate::{
    BlobSource, Lane,
    fetcher::Shared,
    flight::{Boarding, Claim, Flights, Until},
    job, plan,
    readahead::Readahead,
    schedule::{LayerNumber, Ticket},
    stats::Counters,
};

/// Sources of a layer, best first.
pub(crate) type Sources = Arc<[Arc<dyn BlobSource>]>;

/// Reads one layer, from the cache or from its sources.
pub struct LayerReader {
    layer: Arc<Layer>,
    pub(crate) number: LayerNumber,
    pub(crate) shared: Arc<Shared>,
    sources: RwLock<Sources>,
    flights: Arc<Flights>,
    readahead: Mutex<Readahead>,
    /// Chunks that cannot be fetched by themselves, while the layer is streamed for them.
    pub(crate) refill: Mutex<Option<Claim>>,
    /// What went wrong last, for whoever runs out of patience.
    last_error: Mutex<Option<String>>,
}

impl LayerReader {
    pub(crate) fn new(
        layer: Arc<Layer>,
        number: LayerNumber,
        shared: Arc<Shared>,
        sources: Vec<Arc<dyn BlobSource>>,
    ) -> Self {
        Self {
            layer,
            number,
            shared,
            sources: RwLock::new(sources.into()),
            flights: Arc::default(),
            readahead: Mutex::default(),
            refill: Mutex::default(),
            last_error: Mutex::default(),
        }
    }

    /// The layer.
    #[must_use]
    pub fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }

    /// From now on these are asked, in this order: hosts or credentials changed.
    pub fn set_sources(&self, sources: Vec<Arc<dyn BlobSource>>) {
        *self.sources.write() = sources.into();
    }

    pub(crate) fn sources(&self) -> Sources {
        Arc::clone(&self.sources.read())
    }

    /// `range` of the data file if the cache has it, zeros past its end. For the thread that got the request: reads
    /// the disk at most.
    #[must_use]
    pub fn read_now(self: &Arc<Self>, range: Range<DataOffset>) -> Option<VerifiedBytes> {
        self.read_ahead(&range);
        let Read::Whole(bytes) = self.look(range) else { return None };
        Counters::add(&self.shared.counters.hits, 1);
        Counters::add(&self.shared.counters.hit_bytes, bytes.len() as u64);
        Some(bytes)
    }

    /// `range` of the data file, fetched if need be, zeros past its end. Dropping the future does not stop the work.
    ///
    /// # Errors
    /// [`ReadError`] after [`crate::Config::read_timeout`] at most; its text names layer and source.
    pub async fn read(self: &Arc<Self>, range: Range<DataOffset>) -> Result<VerifiedBytes, ReadError> {
        let deadline = Instant::now() + self.shared.config().read_timeout;
        if let Some(bytes) = self.read_now(range.clone()) {
            return Ok(bytes);
        }
        Counters::add(&self.shared.counters.misses, 1);
        Counters::add(&self.shared.counters.miss_bytes, range.end.0.saturating_sub(range.start.0));
        let outcome = timeout_at(deadline, self.read_missing(range)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(ReadError::TimedOut(self.explain("no answer"))));
        outcome.inspect_err(|error| {
            Counters::add(&self.shared.counters.failed_reads, 1);
            tracing::warn!(%error, "read failed");
        })
    }

    async fn read_missing(self: &Arc<Self>, range: Range<DataOffset>) -> Result<VerifiedBytes, ReadError> {
        loop {
            let missing = {
                let _mark = self.executing(range.clone())?;
                match self.look(range.clone()) {
                    Read::Whole(bytes) => return Ok(bytes),
                    Read::Missing(ids) => ids,
                }
            };
            match self.fetch(&missing, Lane::Demand).await {
                Ok(chunks) => {
                    if let Some(bytes) = self.assemble(&range, &chunks) {
                        return Ok(bytes);
                    }
                    // Something was evicted meanwhile.
                }
                // A job that began long before this read; this read has time left.
                Err(ReadError::TimedOut(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for chunks, in the demand lane until they are verified, in the others until they are stored, and claims
    /// those that nobody fetches. Some may be in the cache by now: those are not in the
    /// answer, which is in the order of `wanted`.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        wanted: &[ChunkId],
        lane: Lane,
    ) -> Result<Vec<(ChunkId, VerifiedChunk)>, ReadError> {
        let ticket = Ticket::new(lane);
        // Neighbours that would not be kept only push what is wanted out of memory.
        let stretch = lane == Lane::Demand && self.shared.cache.has_room(lane.urgency());
        let until = if lane == Lane::Demand { Until::Verified } else { Until::Stored };
        let config = self.shared.config();
        let Boarding { waits, claim, others } = self.flights.board(
            wanted,
            until,
            |claimed| plan::along(self.layer.index(), claimed, stretch, &config),
            &ticket,
            |id| self.is_here(id),
        );
        for other in others {
            self.shared.scheduler.promote(&other, lane);
        }
        if !claim.ids.is_empty() {
            self.shared.handle.spawn(job::run(Arc::clone(self), claim, ticket));
        }
        let mut chunks = Vec::with_capacity(waits.len());
        for (id, wait) in waits {
            let gone = |_| Err(ReadError::Local("the fetch was dropped".to_owned()));
            chunks.push((id, wait.await.unwrap_or_else(gone)?));
        }
        Ok(chunks)
    }

    pub(crate) fn is_here(&self, id: ChunkId) -> bool {
        self.layer.has(id) || self.shared.overflow.get(self.number, id).is_some()
    }

    /// The reply from chunks that came and bytes that were there; nothing when some are not there any more.
    fn assemble(
        &self,
        range: &Range<DataOffset>,
        chunks: &[(ChunkId, VerifiedChunk)],
    ) -> Option<VerifiedBytes> {
        let mut assembly = Assembly::new(range.clone());
        for id in self.layer.index().chunks_in(range.clone()).map(ChunkId) {
            let data = self.layer.index().chunk(id).data;
            if let Ok(found) = chunks.binary_search_by_key(&id, |(id, _)| *id) {
                assembly.put(data.start, &chunks.get(found)?.1);
            } else {
                let part = data.start.max(range.start)..data.end.min(range.end);
                let _mark = self.executing(part.clone()).ok()?;
                match self.look(part.clone()) {
                    Read::Whole(bytes) => assembly.put_stored(part.start, &bytes),
                    Read::Missing(_) => assembly.put(data.start, &self.shared.overflow.get(self.number, id)?),
                }
            }
        }
        Some(assembly.finish())
    }

    /// Starts fetching what this reader will read next.
    fn read_ahead(self: &Arc<Self>, range: &Range<DataOffset>) {
        let ahead = self.readahead.lock().observe(range, self.shared.config().readahead_max);
        if let Some(ahead) = ahead
            && self.shared.cache.has_room(Lane::Prefetch.urgency())
        {
            let reader = Arc::clone(self);
            self.shared.handle.spawn(async move {
                let ids: Vec<_> = reader.layer.index().chunks_in(ahead).map(ChunkId).collect();
                if let Err(error) = reader.fetch(&ids, Lane::Prefetch).await {
                    tracing::debug!(%error, "read-ahead failed");
                }
            });
        }
    }

    /// Remembers why a source failed.
    pub(crate) fn note(&self, error: &str) {
        *self.last_error.lock() = Some(error.to_owned());
    }

    /// An error text: the layer, what happened, and what went wrong last.
    pub(crate) fn explain(&self, what: &str) -> String {
        let last = self.last_error.lock().clone().unwrap_or_else(|| {
            let sources: Vec<_> = self.sources().iter().map(|source| source.describe()).collect();
            format!("waiting for {}", sources.join(", "))
        });
        format!("layer {}: {what}: {last}", self.layer.key().layer)
    }
}

impl fmt::Debug for LayerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerReader({:?})", self.layer)
    }
}
