//! Fetching on purpose: what containerd will read itself, before the gate opens; the rest of an image, in the
//! background.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use peel_layer::{ChunkId, DataOffset, serve::ReadError};

use crate::{Lane, LayerReader};

/// Bytes of the data file that are waited for together. Four such windows are under way, so that the link does
/// not idle between them, and 16 MiB are in memory at most.
const WINDOW: u64 = 4 << 20;
const WINDOWS: usize = 4;

/// How far a prefetch is, for whoever watches it from another task.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    /// Uncompressed bytes of all chunks that are wanted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Of those, the bytes that are here.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

impl LayerReader {
    /// Returns when everything in `ranges` is here. Not bounded as a whole, but every part of it is: watch
    /// `progress`. On a full disk what came is forgotten again, and this is no error; in lanes that nobody waits for it
    /// is not fetched in the first place where it would not be kept.
    ///
    /// # Errors
    /// The first chunk that cannot be had; others that are under way go on.
    pub async fn prefetch(
        self: &Arc<Self>,
        ranges: impl IntoIterator<Item = Range<DataOffset>>,
        lane: Lane,
        progress: &Progress,
    ) -> Result<(), ReadError> {
        let windows: Vec<_> = ranges.into_iter().flat_map(|range| self.windows(range)).collect();
        let total = windows.iter().map(|window| self.length(window)).sum();
        progress.total.fetch_add(total, Ordering::Relaxed);
        stream::iter(windows)
            .map(|window| async move {
                let length = self.length(&window);
                let missing: Vec<_> = window.into_iter().filter(|id| !self.is_here(*id)).collect();
                if lane != Lane::Demand && !self.shared.cache.has_room(lane.urgency()) {
                    return Ok(());
                }
                self.fetch(&missing, lane).await?;
                progress.done.fetch_add(length, Ordering::Relaxed);
                Ok(())
            })
            .buffer_unordered(WINDOWS)
            .try_collect()
            .await
    }

    /// Chunks of `range` in groups of [`WINDOW`] bytes, or one chunk if that is larger.
    fn windows(&self, range: Range<DataOffset>) -> Vec<Vec<ChunkId>> {
        let mut windows: Vec<Vec<ChunkId>> = Vec::new();
        let mut bytes = 0;
        for id in self.layer().index().chunks_in(range).map(ChunkId) {
            let length = self.layer().index().chunk(id).length();
            match windows.last_mut() {
                Some(window) if bytes + length <= WINDOW => {
                    window.push(id);
                    bytes += length;
                }
                _ => {
                    windows.push(vec![id]);
                    bytes = length;
                }
            }
        }
        windows
    }

    fn length(&self, ids: &[ChunkId]) -> u64 {
        ids.iter().map(|id| self.layer().index().chunk(*id).length()).sum()
    }
}
