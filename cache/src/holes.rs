//! Which blocks of the data file belong to absent chunks alone.

use std::ops::Range;

use peel_layer::ChunkId;

use crate::{Layer, disk::BLOCK};

impl Layer {
    /// Whole blocks of absent chunks among `ids`, which rise, neighbours in one piece. A block that a chunk shares with
    /// one that is present stays; it goes with the last of them.
    pub(crate) fn holes(&self, ids: &[u32], absent: &dyn Fn(u32) -> bool) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for id in ids.iter().copied().filter(|id| *id < self.index().chunk_count() && absent(*id)) {
            match runs.last_mut() {
                Some(run) if run.end == id => run.end += 1,
                _ => runs.push(id..id + 1),
            }
        }
        runs.into_iter()
            .map(|run| self.first_block(run.start, absent)..self.last_block(run.end, absent))
            .collect()
    }

    /// Where the hole of a run begins whose first chunk is `first`.
    fn first_block(&self, first: u32, absent: &dyn Fn(u32) -> bool) -> u64 {
        let start = self.data(first).start;
        let block = start / BLOCK * BLOCK;
        // Chunks are disjoint and in order: the block is shared with the one before, and with more only if that one
        // is inside it.
        let shared = first.checked_sub(1).is_some_and(|before| {
            let data = self.data(before);
            data.end > block && !(absent(before) && data.start <= block)
        });
        if shared { start.next_multiple_of(BLOCK) } else { block }
    }

    /// Where the hole of a run ends that `next` follows.
    fn last_block(&self, next: u32, absent: &dyn Fn(u32) -> bool) -> u64 {
        let end = self.data(next - 1).end;
        let block = end.next_multiple_of(BLOCK);
        let shared = next < self.index().chunk_count() && {
            let data = self.data(next);
            data.start < block && !(absent(next) && data.end >= block)
        };
        if shared { end / BLOCK * BLOCK } else { block }
    }

    fn data(&self, id: u32) -> Range<u64> {
        let data = self.index().chunk(ChunkId(id)).data;
        data.start.0..data.end.0
    }
}
