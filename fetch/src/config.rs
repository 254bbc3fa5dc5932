//! Limits, each with its reason. All can be shortened by tests.

use std::time::Duration;

/// How patient, how wide, how many.
#[derive(Debug, Clone)]
pub struct Config {
    /// A reader waits this long at most, then gets EIO. Under the kubelet's two minutes for CreateContainer, which
    /// may be the reader.
    pub read_timeout: Duration,
    /// One request to one source. A source that hangs must leave time for the next: three fit `read_timeout`.
    pub request_timeout: Duration,
    /// First pause after all sources failed; doubles up to `backoff_max`.
    pub backoff: Duration,
    /// Longest pause: a registry that is back is noticed this soon.
    pub backoff_max: Duration,
    /// Longest pause that a source may ask for (`Retry-After`): one that asks for an hour is asked again while readers
    /// still wait.
    pub retry_after_max: Duration,
    /// Rounds over all sources when every one says that asking again is of no use (403, 404). More than one,
    /// because registries say so while they fail over and tokens are rotated.
    pub permanent_rounds: u32,
    /// Largest range of one request in bytes of the blob: some 40 ms on a gigabit link, so that a demand read
    /// behind it on the same connection does not wait for long.
    pub range_max: u64,
    /// Unwanted bytes between two wanted units that are fetched along rather than asked around: at 100 Mbit/s they
    /// take 1.3 ms, less than any second request.
    pub gap: u64,
    /// A demand read that wants less is stretched over what follows, up to this many bytes of the blob: 5 ms at
    /// 100 Mbit/s, a small part of a round trip to a registry, and neighbours in a layer are read together.
    pub range_min: u64,
    /// Longest read-ahead in bytes of the data file; reached after half as many were read in a row.
    pub readahead_max: u64,
    /// Requests at a time for readers, per layer. Not for all layers together: one layer whose registry hangs
    /// must not keep readers of another waiting.
    pub demand_per_layer: usize,
    /// Prefetch requests at a time, all layers together; half of them for one layer.
    pub prefetch_total: usize,
    /// Background requests at a time, all layers together; one while any reader waits.
    pub background_total: usize,
    /// Bytes of chunks that are being decoded at a time, all layers together. A chunk has 4 MiB in practice and at
    /// most 64: every reader of a layer finds room at once, or one by one those of the largest.
    pub decode_bytes: u64,
    /// Largest unit, compressed or decoded up to the chunk's end, that is fetched for one chunk. Where a compressor left
    /// no place to begin at (a single zstd frame, a deflate block of hundreds of MB), the layer is streamed again, which
    /// brings back everything else too. Decoding so much takes a sixth of a second.
    pub unit_max: u64,
    /// Layers streamed at a time. Each takes three threads and some MiB; more than this share two cores badly, and
    /// the first one to be readable would be the last.
    pub streams: usize,
    /// Bytes of chunks kept in memory because the cache could not take them (disk full).
    pub overflow_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            read_timeout: Duration::from_secs(100),
            request_timeout: Duration::from_secs(30),
            backoff: Duration::from_millis(250),
            backoff_max: Duration::from_secs(5),
            retry_after_max: Duration::from_secs(30),
            permanent_rounds: 3,
            range_max: 4 << 20,
            gap: 16 << 10,
            range_min: 64 << 10,
            readahead_max: 4 << 20,
            demand_per_layer: 16,
            prefetch_total: 8,
            background_total: 4,
            decode_bytes: 64 << 20,
            unit_max: 64 << 20,
            streams: 4,
            // Four chunks as eStargz makes them: enough for the readers that are under way.
            overflow_bytes: 16 << 20,
        }
    }
}

impl Config {
    /// The pause after all sources failed: `own`, or what one of them asks for.
    pub(crate) fn pause(&self, own: Duration, asked_for: Option<Duration>) -> Duration {
        asked_for.map_or(own, |asked_for| asked_for.min(self.retry_after_max).max(own))
    }
}
