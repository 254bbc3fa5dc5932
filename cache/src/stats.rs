//! What is counted, and what is shown.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use peel_layer::IndexKey;

use crate::{Cause, Round, Urgency, store::Shared};

/// Counted since the process started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) chunks_stored: AtomicU64,
    pub(crate) bytes_stored: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) recreated: AtomicU64,
    pub(crate) rounds: AtomicU64,
    pub(crate) evicted_chunks: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    /// Bytes of disk by [`Cause::ALL`].
    freed_by: [AtomicU64; 4],
    /// The last chunk was refused: logged when it begins, not for every chunk.
    refusing: AtomicBool,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// A chunk of so many bytes was stored.
    pub(crate) fn stored(&self, bytes: usize) {
        Self::add(&self.chunks_stored, 1);
        Self::add(&self.bytes_stored, bytes as u64);
        if self.refusing.swap(false, Ordering::Relaxed) {
            tracing::info!("the cache takes chunks again");
        }
    }

    pub(crate) fn collected(&self, round: &Round) {
        Self::add(&self.rounds, u64::from(!round.evicted.is_empty()));
        Self::add(&self.evicted_chunks, round.evicted.iter().map(|evicted| evicted.chunks).sum());
        Self::add(&self.freed_bytes, round.freed);
    }

    pub(crate) fn freed(&self, cause: Cause, bytes: u64) {
        if let Some(counter) =
            Cause::ALL.iter().zip(&self.freed_by).find_map(|(it, counter)| (*it == cause).then_some(counter))
        {
            Self::add(counter, bytes);
        }
    }

    pub(crate) fn refused(&self, dir: &Path, error: &io::Error) {
        Self::add(&self.refused, 1);
        if !self.refusing.swap(true, Ordering::Relaxed) {
            tracing::warn!(dir = %dir.display(), %error, "chunks cannot be cached; serving them from memory");
        }
    }
}

/// One layer's share of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerStats {
    /// Which layer.
    pub key: IndexKey,
    /// Uncompressed bytes of all its chunks.
    pub content_bytes: u64,
    /// Of those, the bytes in the cache.
    pub present_bytes: u64,
    /// Blocks of its data file, in bytes: chunks are padded to blocks of the filesystem.
    pub disk_bytes: u64,
    /// When the part of it that was not used for longest was used, in seconds since 1970; nothing if nothing is here.
    pub oldest_access: Option<u32>,
}

/// The cache as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// All layers with an index, by directory name.
    pub layers: Vec<LayerStats>,
    /// Sum of [`LayerStats::content_bytes`].
    pub content_bytes: u64,
    /// Sum of [`LayerStats::present_bytes`].
    pub present_bytes: u64,
    /// Sum of [`LayerStats::disk_bytes`].
    pub disk_bytes: u64,
    /// Chunks stored since the process started.
    pub chunks_stored: u64,
    /// Bytes of those.
    pub bytes_stored: u64,
    /// Chunks that could not be stored (full or broken disk, layer removed).
    pub chunks_refused: u64,
    /// Chunks that were read back and had not the digest they were stored with.
    pub chunks_damaged: u64,
    /// Layers whose cache directory was deleted under them and made anew.
    pub directories_recreated: u64,
    /// Chunks that found no room below their watermark, by urgency as in [`Urgency::ALL`].
    pub chunks_yielded: [u64; 3],
    /// Rounds that evicted something.
    pub rounds: u64,
    /// Chunks that they evicted.
    pub chunks_evicted: u64,
    /// Bytes of disk freed by rounds, removed layers included.
    pub bytes_freed: u64,
    /// Bytes of disk freed by cause, in the order of [`Cause::ALL`]; what was evicted by hand is in it too.
    pub freed_by_cause: [u64; 4],
    /// The oldest of all [`LayerStats::oldest_access`].
    pub oldest_access: Option<u32>,
}

impl CacheStats {
    pub(crate) fn new(layers: Vec<LayerStats>, shared: &Shared) -> Self {
        let counters = &shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sum = |field: fn(&LayerStats) -> u64| layers.iter().map(field).sum();
        Self {
            content_bytes: sum(|layer| layer.content_bytes),
            present_bytes: sum(|layer| layer.present_bytes),
            disk_bytes: sum(|layer| layer.disk_bytes),
            chunks_stored: get(&counters.chunks_stored),
            bytes_stored: get(&counters.bytes_stored),
            chunks_refused: get(&counters.refused),
            chunks_damaged: get(&counters.damaged),
            directories_recreated: get(&counters.recreated),
            chunks_yielded: Urgency::ALL.map(|urgency| shared.gauge.yielded(urgency)),
            rounds: get(&counters.rounds),
            chunks_evicted: get(&counters.evicted_chunks),
            bytes_freed: get(&counters.freed_bytes),
            freed_by_cause: counters.freed_by.each_ref().map(get),
            oldest_access: layers.iter().filter_map(|layer| layer.oldest_access).min(),
            layers,
        }
    }
}
