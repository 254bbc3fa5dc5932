//! Chunks that the cache could not take, kept in memory for a while.
//!
//! Without this a full disk would turn a sequential read of one 4 MiB chunk, 128 KiB at a time, into 32 fetches
//! of the chunk.

use std::collections::VecDeque;

use parking_lot::Mutex;
use peel_layer::{ChunkId, VerifiedChunk};

use crate::schedule::LayerNumber;

/// The last few chunks that were refused, oldest first, bounded by bytes.
#[derive(Debug)]
pub(crate) struct Overflow {
    capacity: usize,
    chunks: Mutex<VecDeque<(LayerNumber, ChunkId, VerifiedChunk)>>,
}

impl Overflow {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, chunks: Mutex::default() }
    }

    pub(crate) fn put(&self, layer: LayerNumber, id: ChunkId, chunk: VerifiedChunk) {
        let mut chunks = self.chunks.lock();
        chunks.retain(|(other, other_id, _)| (*other, *other_id) != (layer, id));
        chunks.push_back((layer, id, chunk));
        let mut bytes: usize = chunks.iter().map(|(_, _, chunk)| chunk.bytes().len()).sum();
        // The newest stays, whatever its size: its reader is here.
        while bytes > self.capacity && chunks.len() > 1 {
            let gone = chunks.pop_front();
            bytes -= gone.map_or(0, |(_, _, chunk)| chunk.bytes().len());
        }
    }

    pub(crate) fn get(&self, layer: LayerNumber, id: ChunkId) -> Option<VerifiedChunk> {
        let chunks = self.chunks.lock();
        chunks
            .iter()
            .find(|(other, other_id, _)| (*other, *other_id) == (layer, id))
            .map(|(_, _, chunk)| chunk.clone())
    }

    /// The cache takes chunks again.
    pub(crate) fn clear(&self) {
        let mut chunks = self.chunks.lock();
        if !chunks.is_empty() {
            *chunks = VecDeque::new();
        }
    }
}
