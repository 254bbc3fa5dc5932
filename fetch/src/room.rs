//! Memory for chunks in the making.
//!
//! A chunk is whole in memory when it is hashed, and an index may ask for chunks of 64 MiB from a few kilobytes of
//! blob. So what is decoded at a time is bounded in bytes, over all layers. Room is held over work of this machine
//! only, never over a request, so nobody waits here for somebody else's registry.

use peel_layer::{ChunkId, Format, LayerIndex, frames::WINDOW_LOG_MAX};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes that one permit stands for.
const GRAIN: u64 = 64 << 10;

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Room {
    permits: Semaphore,
    total: u32,
}

impl Room {
    /// For `bytes` in all.
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / GRAIN).unwrap_or(u32::MAX).max(1);
        Self { permits: Semaphore::new(usize::try_from(total).unwrap_or(Semaphore::MAX_PERMITS)), total }
    }

    /// Waits for room for `bytes`. What is larger than everything gets everything.
    pub(crate) async fn take(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let wanted = u32::try_from(bytes.div_ceil(GRAIN)).unwrap_or(u32::MAX).min(self.total);
        self.permits.acquire_many(wanted).await.ok()
    }
}

/// Bytes of memory that decoding these chunks takes at a time: the longest, and what a zstd decoder remembers of what
/// it has decoded so far (deflate remembers 32 KiB, which do not count).
pub(crate) fn footprint<B: AsRef<[u8]>>(
    index: &LayerIndex<B>,
    ids: impl IntoIterator<Item = ChunkId>,
) -> u64 {
    let remembers = matches!(index.format(), Format::ZstdChunked | Format::Zstd);
    let one = |id| {
        let chunk = index.chunk(id);
        let window = chunk.inner.saturating_add(chunk.length()).min(1 << WINDOW_LOG_MAX);
        chunk.length() + if remembers { window } else { 0 }
    };
    ids.into_iter().map(one).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn bounded_and_nothing_is_too_large() {
        let room = Room::new(128 << 10);
        let small = room.take(1).await.unwrap();
        assert!(room.take(1).now_or_never().is_some());
        assert!(room.take(u64::MAX).now_or_never().is_none());
        drop(small);
        let all = room.take(u64::MAX).await.unwrap();
        assert!(room.take(1).now_or_never().is_none());
        drop(all);
        assert!(Room::new(0).take(1).now_or_never().is_some());
    }
}
