//! A chunk table together with the seek index that has its units.

use super::{ChunkId, LayerIndex, TableError, UnitId};
use crate::seek::SeekIndex;

impl<B: AsRef<[u8]>> LayerIndex<B> {
    /// The index with its seek index, without which a format that has one cannot be decoded
    /// ([`super::Format::has_seek_index`]).
    ///
    /// # Errors
    /// [`TableError`]: the two do not belong together.
    pub fn with_seek(self, seek: SeekIndex<B>) -> Result<Self, TableError> {
        if !self.format().has_seek_index() {
            return Err(TableError::Invalid("a seek index that its format does not have"));
        }
        if seek.unit_count() != self.unit_count() || seek.end().blob.0 > self.blob_size() {
            return Err(TableError::Invalid("its seek index is of another layer"));
        }
        for id in (0..self.chunk_count()).map(ChunkId) {
            let chunk = self.chunk(id);
            // Units of a chunk were checked when the table was opened: there is one at least.
            let (first, last) = (UnitId(chunk.units.start), UnitId(chunk.units.end.saturating_sub(1)));
            let start = seek.stream_range(first).start.checked_add(chunk.inner);
            let end = start.and_then(|start| start.checked_add(chunk.length()));
            if end.is_none_or(|end| end > seek.stream_range(last).end) {
                return Err(TableError::Invalid("a chunk goes past the end of its units"));
            }
        }
        Ok(Self { seek: Some(seek), ..self })
    }
}
