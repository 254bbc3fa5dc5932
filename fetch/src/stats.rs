//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{BlobSource, Lane};

/// Counted since the process started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) hit_bytes: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) miss_bytes: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) network_bytes: [AtomicU64; 3],
    pub(crate) local_bytes: AtomicU64,
    pub(crate) shared_chunks: AtomicU64,
    pub(crate) shared_bytes: AtomicU64,
    pub(crate) mismatches: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) failed_reads: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// The counter of what comes from a source: its own when it is on this node, else its lane's.
    pub(crate) fn received(&self, source: &dyn BlobSource, lane: Lane) -> &AtomicU64 {
        let [demand, prefetch, background] = &self.network_bytes;
        match lane {
            _ if source.is_local() => &self.local_bytes,
            Lane::Demand => demand,
            Lane::Prefetch => prefetch,
            Lane::Background => background,
        }
    }

    pub(crate) fn snapshot(&self) -> FetchStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let lane = |lane: Lane| self.network_bytes.get(lane.index()).map_or(0, get);
        FetchStats {
            hits: get(&self.hits),
            hit_bytes: get(&self.hit_bytes),
            misses: get(&self.misses),
            miss_bytes: get(&self.miss_bytes),
            requests: get(&self.requests),
            demand_bytes: lane(Lane::Demand),
            prefetch_bytes: lane(Lane::Prefetch),
            background_bytes: lane(Lane::Background),
            local_bytes: get(&self.local_bytes),
            shared_chunks: get(&self.shared_chunks),
            shared_bytes: get(&self.shared_bytes),
            mismatches: get(&self.mismatches),
            retries: get(&self.retries),
            failed_reads: get(&self.failed_reads),
        }
    }
}

/// What was read and fetched since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchStats {
    /// Reads that the cache answered whole.
    pub hits: u64,
    /// Bytes of those.
    pub hit_bytes: u64,
    /// Reads that had to wait for something.
    pub misses: u64,
    /// Bytes of those.
    pub miss_bytes: u64,
    /// Requests to sources that gave bytes.
    pub requests: u64,
    /// Compressed bytes fetched over the network because a reader waited for them.
    pub demand_bytes: u64,
    /// The same, ahead of readers.
    pub prefetch_bytes: u64,
    /// The same, to complete images.
    pub background_bytes: u64,
    /// Compressed bytes read from blobs on this node.
    pub local_bytes: u64,
    /// Chunks that were not fetched because another layer had the same content.
    pub shared_chunks: u64,
    /// Uncompressed bytes of those.
    pub shared_bytes: u64,
    /// Chunks that came with wrong bytes.
    pub mismatches: u64,
    /// Rounds over all sources beyond the first.
    pub retries: u64,
    /// Reads that ended with an error.
    pub failed_reads: u64,
}

impl FetchStats {
    /// Compressed bytes fetched over the network, for whatever reason.
    #[must_use]
    pub fn fetched_bytes(&self) -> u64 {
        self.demand_bytes + self.prefetch_bytes + self.background_bytes
    }
}
