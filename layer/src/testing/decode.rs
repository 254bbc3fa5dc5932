//! Decoding as tests like it: one chunk, one answer.

use std::ops::ControlFlow;

use crate::seek::{SeekIndex, Spans};
use crate::verified::DigestMismatch;
use crate::{ChunkId, DecodeError, LayerIndex, UnitId, VerifiedChunk};

/// One chunk, from the bytes of [`LayerIndex::blob_range`].
///
/// # Errors
/// As [`LayerIndex::decode_run`]; inside, that the bytes are others than the index says.
pub fn decode_chunk<B: AsRef<[u8]>>(
    index: &LayerIndex<B>,
    id: ChunkId,
    blob: &[u8],
) -> Result<Result<VerifiedChunk, DigestMismatch>, DecodeError> {
    let (mut decoded, units) = (None, index.chunk(id).units);
    index.decode_run(
        UnitId(units.start)..UnitId(units.end),
        blob,
        &|other| other == id,
        &mut |_, chunk| {
            decoded = Some(chunk);
            ControlFlow::Break(())
        },
    )?;
    Ok(decoded.unwrap())
}

/// A span of a seek index, alone, to its end.
#[must_use]
pub fn decode_span(seek: &SeekIndex<Vec<u8>>, unit: UnitId, blob: &[u8]) -> Vec<u8> {
    let range = seek.stream_range(unit);
    let mut span = vec![0; usize::try_from(range.end - range.start).unwrap()];
    Spans::new(seek, unit, blob).unwrap().fill(&mut span).unwrap();
    span
}
