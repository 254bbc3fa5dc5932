//! Chunk groups: neighbours in the data file, the unit of recency and of eviction.
//!
//! A group is a stretch of the data file, and has the chunks that begin in it. Neighbours in a layer are read
//! together, so an epoch a group says as much as one a chunk, and its hole is one extent.

use std::ops::Range;

use peel_layer::{ChunkId, DataOffset};

use crate::{Layer, disk::BLOCK};

/// Length of a group. Small enough that a program is not kept because of its neighbour in the layer; large enough that
/// a node's whole cache of 100 GB has 50,000 of them.
pub(crate) const GROUP_BYTES: u64 = 2 << 20;
/// Most groups that a layer has; beyond that they get longer. Bounds memory whatever an index says: 256 KiB.
const GROUPS_MAX: u64 = 1 << 16;

/// How a data file is divided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grouping {
    length: u64,
    count: u32,
}

impl Grouping {
    /// Of a data file of `data_size` bytes, into groups of `group_bytes` if those are not too many.
    pub(crate) fn new(data_size: u64, group_bytes: u64) -> Self {
        let length = data_size.div_ceil(GROUPS_MAX).max(group_bytes).max(1);
        // At most GROUPS_MAX.
        Self { length, count: u32::try_from(data_size.div_ceil(length)).unwrap_or(u32::MAX) }
    }

    /// How many groups there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of a group.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The group in which the chunk that begins at `at` is.
    pub(crate) fn of(&self, at: u64) -> u32 {
        u32::try_from(at / self.length).unwrap_or(u32::MAX)
    }

    fn range(&self, number: u32) -> Range<DataOffset> {
        let start = u64::from(number) * self.length;
        DataOffset(start)..DataOffset(start.saturating_add(self.length))
    }
}

/// A group with something in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupStats {
    pub(crate) number: u32,
    /// When something of it was last read or stored.
    pub(crate) epoch: u32,
    /// Blocks of its present chunks, in bytes.
    pub(crate) bytes: u64,
}

impl Layer {
    /// Ids of the chunks of a group.
    pub(crate) fn chunks_of_group(&self, number: u32) -> Range<u32> {
        let range = self.store.grouping().range(number);
        let ids = self.index().chunks_in(range.clone());
        let begins_before =
            ids.start < ids.end && self.index().chunk(ChunkId(ids.start)).data.start < range.start;
        ids.start + u32::from(begins_before)..ids.end
    }

    /// Groups that have a present chunk, rising.
    pub(crate) fn groups(&self) -> Vec<GroupStats> {
        let Some(files) = self.store.files() else { return Vec::new() };
        let grouping = self.store.grouping();
        let mut groups: Vec<GroupStats> = Vec::new();
        // Neighbours may share a block, which is counted with the first.
        let mut counted = 0;
        for id in files.bits().iter() {
            let data = self.index().chunk(ChunkId(id)).data;
            let number = grouping.of(data.start.0);
            let end = data.end.0.next_multiple_of(BLOCK);
            let bytes = end.saturating_sub((data.start.0 / BLOCK * BLOCK).max(counted));
            counted = end;
            match groups.last_mut() {
                Some(group) if group.number == number => group.bytes += bytes,
                _ => groups.push(GroupStats { number, epoch: self.store.epoch(number), bytes }),
            }
        }
        groups
    }

    /// Chunks in the cache.
    pub(crate) fn present_chunks(&self) -> u64 {
        self.store.files().map_or(0, |files| files.bits().iter().count() as u64)
    }
}
