//! Chunks of an index that has digests of compressed spans, and none of chunks (SOCI).
//!
//! The bytes of a span are compared with its digest before any of them is decoded, and what comes out of the decoder is
//! verified by that: this is the only other way to a [`VerifiedChunk`]. The digest of such a chunk is not checked but
//! learned; whoever keeps it can check the bytes again.

use crate::UnitId;
use crate::digest::{ChunkDigest, SpanDigest};
use crate::index::UnitError;
use crate::inflate::InflateError;
use crate::seek::{SeekIndex, Spans};

use super::VerifiedChunk;

/// The bytes of a span are not what the index promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its span has digest {found}, the index says {expected}")]
pub struct SpanMismatch {
    /// What the index says.
    pub expected: SpanDigest,
    /// What the bytes have.
    pub found: SpanDigest,
}

/// A span whose bytes have its digest, decoded from front to back.
#[derive(Debug)]
pub(crate) struct VerifiedSpan<'a> {
    spans: Spans<'a>,
    /// Decoded bytes of the span that were not asked for yet.
    left: u64,
}

impl<'a> VerifiedSpan<'a> {
    /// Checks `blob`, the bytes of unit `unit`, and starts to decode them.
    pub(crate) fn open<B: AsRef<[u8]>>(
        seek: &SeekIndex<B>,
        unit: UnitId,
        blob: &'a [u8],
    ) -> Result<Self, UnitError> {
        let expected = seek.span_digest(unit).map(SpanDigest::from_bytes).ok_or(UnitError::NoDigest)?;
        let found = SpanDigest::of(blob);
        if found != expected {
            return Err(SpanMismatch { expected, found }.into());
        }
        let range = seek.stream_range(unit);
        Ok(Self { spans: Spans::new(seek, unit, blob)?, left: range.end.saturating_sub(range.start) })
    }

    /// Decodes the next bytes of the span, for nobody to see: at most as many as are left.
    pub(crate) fn skip(&mut self, scratch: &mut [u8]) -> Result<usize, InflateError> {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(scratch.len());
        self.spans.fill(&mut scratch[..count])?;
        self.left -= count as u64;
        Ok(count)
    }

    /// Decodes the next `length` bytes, which are a chunk.
    pub(crate) fn chunk(&mut self, length: u64) -> Result<VerifiedChunk, UnitError> {
        self.left = self.left.checked_sub(length).ok_or(UnitError::TooShort)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.spans.fill(&mut bytes)?;
        let digest = ChunkDigest::of(&bytes);
        Ok(VerifiedChunk { bytes: bytes.into(), digest })
    }
}
