//! From the files of a layer, as they pass, to its chunks.

use std::{fmt, io, sync::Arc};

use peel_layer::{ChunkId, DataOffset, UnverifiedChunk, stream::DataSink};

use crate::{Lane, LayerReader, decode::store};

/// Puts chunks together. The same tar gives the same data file, so its bytes come at the places that the table has.
pub(super) struct Chunks {
    reader: Arc<LayerReader>,
    /// The chunk that is put together, or comes next.
    next: u32,
    /// What there is of it.
    bytes: Vec<u8>,
}

impl Chunks {
    pub(super) fn new(reader: Arc<LayerReader>) -> Self {
        Self { reader, next: 0, bytes: Vec::new() }
    }

    /// Checks the chunk and hands it on, if somebody wants it or it is not here.
    fn land(&mut self) -> io::Result<()> {
        let id = ChunkId(self.next);
        self.next += 1;
        let bytes = std::mem::take(&mut self.bytes);
        let layer = self.reader.layer();
        let is_wanted = || self.reader.refill.lock().as_ref().is_some_and(|claim| claim.ids.contains(&id));
        if layer.has(id) && !is_wanted() {
            return Ok(());
        }
        let digest = layer.index().chunk(id).digest.ok_or_else(|| wrong(&"a chunk has no digest"))?;
        let chunk = UnverifiedChunk::new(bytes).verify(&digest).map_err(|error| wrong(&error))?;
        let mut pool = self.reader.refill.lock();
        match pool.as_mut().filter(|claim| claim.ids.contains(&id)) {
            Some(claim) => store(&self.reader, claim, id, chunk, Lane::Demand),
            None => {
                drop(pool);
                // It passes anyway; nobody asked for it.
                layer.admit_for(Lane::Background.urgency(), id, &chunk);
            }
        }
        Ok(())
    }
}

impl DataSink for Chunks {
    fn write(&mut self, at: DataOffset, mut bytes: &[u8]) -> io::Result<()> {
        let mut at = at.0;
        while !bytes.is_empty() {
            let data = self.reader.layer().index().chunk(ChunkId(self.next)).data;
            if at != data.start.0 + self.bytes.len() as u64 || at >= data.end.0 {
                return Err(wrong(&"its files are not those of its index"));
            }
            let left = usize::try_from(data.end.0 - at).unwrap_or(usize::MAX);
            let (head, rest) = bytes.split_at(left.min(bytes.len()));
            self.bytes.extend_from_slice(head);
            (bytes, at) = (rest, at + head.len() as u64);
            if at == data.end.0 {
                self.land()?;
            }
        }
        Ok(())
    }
}

/// Bytes that are not the layer's: an I/O error is the sink's only way to say so.
fn wrong(what: &dyn fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}
