//! The chunks of a blob that passes, where they are not here yet.

use std::{
    ops::{ControlFlow, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use peel_layer::{BlobOffset, ChunkId, UnitId};

use crate::{Lane, LayerReader, room::footprint};

/// Keeps the bytes of units until they are whole.
pub(super) struct Chunks {
    reader: Arc<LayerReader>,
    /// What is decoded next.
    run: Option<Run>,
    /// Chunks from here on were not looked at.
    next: u32,
    /// Bytes of the blob from `start` on, as far as they are of use.
    bytes: Vec<u8>,
    start: u64,
}

/// Adjacent units that share no chunk with others, and the chunks that begin in them.
struct Run {
    units: Range<u32>,
    range: Range<BlobOffset>,
    ids: Range<u32>,
}

impl Chunks {
    pub(super) fn new(reader: Arc<LayerReader>) -> Self {
        let mut chunks = Self { reader, run: None, next: 0, bytes: Vec::new(), start: 0 };
        chunks.advance();
        chunks
    }

    /// Takes the next bytes of the blob, and stores the chunks that are whole with them.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.start + (self.bytes.len() + bytes.len()) as u64;
        self.bytes.extend_from_slice(bytes);
        while let Some(run) = self.run.take_if(|run| run.range.end.0 <= end) {
            self.decode(&run);
            self.advance();
        }
        let keep = self.run.as_ref().map_or(end, |run| run.range.start.0.min(end));
        self.bytes.drain(..usize::try_from(keep.saturating_sub(self.start)).unwrap_or(0));
        self.start = self.start.max(keep);
    }

    /// Looks for the next run that something is missing of, and that is not too large to be kept in memory: chunks of
    /// such units come when somebody reads them.
    fn advance(&mut self) {
        let layer = self.reader.layer();
        let (index, longest) = (layer.index(), self.reader.shared.config().unit_max);
        while self.next < index.chunk_count() {
            let first = self.next;
            let mut units = index.chunk(ChunkId(first)).units;
            self.next += 1;
            while self.next < index.chunk_count() {
                let more = index.chunk(ChunkId(self.next)).units;
                if more.start >= units.end {
                    break;
                }
                units.end = units.end.max(more.end);
                self.next += 1;
            }
            let (ids, range) = (first..self.next, index.range_of(&units));
            let length = range.end.0.saturating_sub(range.start.0);
            let begins_later = range.start.0 >= self.start;
            if length <= longest && begins_later && ids.clone().any(|id| !layer.has(ChunkId(id))) {
                self.run = Some(Run { units, range, ids });
                return;
            }
        }
    }

    fn decode(&self, run: &Run) {
        let (reader, layer) = (&self.reader, self.reader.layer());
        if !reader.shared.cache.has_room(Lane::Background.urgency()) {
            return;
        }
        let at = |offset: BlobOffset| {
            usize::try_from(offset.0.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.bytes.len())
        };
        let bytes = &self.bytes[at(run.range.start)..at(run.range.end)];
        // Not what the daemon died of before.
        let wanted = |id: &ChunkId| !layer.has(*id) && reader.executing_chunk(*id).is_ok();
        let ids: Vec<ChunkId> = run.ids.clone().map(ChunkId).filter(wanted).collect();
        let _room = reader
            .shared
            .handle
            .block_on(reader.shared.room.take(footprint(layer.index(), ids.iter().copied())));
        let mut marked = ids.iter();
        let mut mark = || marked.next().and_then(|id| reader.executing_chunk(*id).ok().flatten());
        let mut executing = mark();
        let decode = || {
            let units = UnitId(run.units.start)..UnitId(run.units.end);
            let wanted = |id| ids.binary_search(&id).is_ok();
            layer.index().decode_run(units, bytes, &wanted, &mut |id, chunk| {
                match chunk {
                    Ok(chunk) => drop(layer.admit_for(Lane::Background.urgency(), id, &chunk)),
                    Err(error) => tracing::debug!(layer = %layer.key().layer, %error, "a chunk is wrong"),
                }
                drop(executing.take());
                executing = mark();
                ControlFlow::Continue(())
            })
        };
        // What is wrong here is found and counted when somebody reads it. The digests decide about the layer.
        match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(layer = %layer.key().layer, %error, "chunks are not stored"),
            Err(_) => tracing::error!(layer = %layer.key().layer, "decoding a chunk panicked"),
        }
    }
}
