//! From bytes of the blob to verified chunks.
//!
//! Whatever the bytes are, output stays within what the index asked for: nothing is decoded past the end of the last
//! chunk that is wanted, and what lies before it goes through a small buffer. So a bomb costs at most the time that
//! the index allows, and no memory. Decoding begins anew at every unit that a wanted chunk begins in, so nobody needs
//! to know how much a unit holds, and damage in one leaves the chunks of the others alone.

use std::ops::{ControlFlow, Range};

use super::{Chunk, ChunkId, Format, LayerIndex, UnitId};
use crate::frames::{Frames, ZstdError};
use crate::inflate::{InflateError, Member};
use crate::seek::Spans;
use crate::verified::{DigestMismatch, SpanMismatch, UnverifiedChunk, VerifiedChunk, VerifiedSpan};

/// Why bytes of the blob do not hold the chunk that the index says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chunk {chunk} at byte {at} of the blob cannot be decoded: {source}")]
pub struct DecodeError {
    /// Which chunk.
    pub chunk: ChunkId,
    /// Where its first unit begins.
    pub at: crate::BlobOffset,
    /// What is wrong.
    pub source: UnitError,
}

/// What is wrong with the bytes of a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// In a gzip member.
    #[error(transparent)]
    Gzip(#[from] InflateError),
    /// In zstd frames.
    #[error(transparent)]
    Zstd(#[from] ZstdError),
    /// The unit's own digest: its bytes are others than the index says.
    #[error(transparent)]
    Span(#[from] SpanMismatch),
    /// The bytes at hand end before the chunk does.
    #[error("its bytes end too early")]
    TooShort,
    /// The index has no digest for the chunk, and none for its unit.
    #[error("nothing says what its bytes must be")]
    NoDigest,
    /// Units of this format are in a seek index, which was not opened with the chunk table.
    #[error("its seek index is missing")]
    NoSeekIndex,
}

impl<B: AsRef<[u8]>> LayerIndex<B> {
    /// Decodes from `blob`, the bytes of [`LayerIndex::range_of`] adjacent `units`, the chunks that lie wholly in
    /// them and are `wanted`, in order. Each is verified and handed to `take` as soon as it is there, or its digest's
    /// mismatch is. `take` may break off when it has what it wants.
    ///
    /// # Errors
    /// The first [`DecodeError`], if bytes are damaged or end too early; all chunks that do not depend on them were
    /// handed over.
    pub fn decode_run(
        &self,
        units: Range<UnitId>,
        blob: &[u8],
        wanted: &dyn Fn(ChunkId) -> bool,
        take: &mut dyn FnMut(ChunkId, Result<VerifiedChunk, DigestMismatch>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        let units = units.start.0..units.end.0;
        let (mut cursor, mut first_error, mut broken) = (Cursor::new(self, units.clone(), blob), None, None);
        for id in self.chunks_within(units).map(ChunkId).filter(|id| wanted(*id)) {
            let chunk = self.chunk(id);
            // What lies behind damage in the same unit cannot be reached either.
            if broken == Some(chunk.units.start) {
                continue;
            }
            match cursor.chunk(&chunk) {
                Ok(outcome) => {
                    if take(id, outcome).is_break() {
                        break;
                    }
                }
                Err(source) => {
                    broken = Some(chunk.units.start);
                    let at = self.unit(UnitId(chunk.units.start)).start;
                    first_error.get_or_insert(DecodeError { chunk: id, at, source });
                    cursor.stop();
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// Bytes of one unit, and for what it is decoded.
enum Stream<'a> {
    Member(Member<'a>),
    Frames(Frames<'a>),
    Plain(&'a [u8]),
    /// A span, and how much of it is not yet decoded.
    Span(Box<Spans<'a>>, u64),
    /// A span that was verified, and with it its chunks.
    Verified(Box<VerifiedSpan<'a>>),
}

/// A place in the decoded bytes of a run of units.
struct Cursor<'a, B> {
    index: &'a LayerIndex<B>,
    units: Range<u32>,
    blob: &'a [u8],
    stream: Option<Stream<'a>>,
    /// The unit that `stream` is in.
    unit: u32,
    /// Bytes of it that were decoded.
    at: u64,
    scratch: Vec<u8>,
}

impl<'a, B: AsRef<[u8]>> Cursor<'a, B> {
    fn new(index: &'a LayerIndex<B>, units: Range<u32>, blob: &'a [u8]) -> Self {
        Self { index, unit: units.start, units, blob, stream: None, at: 0, scratch: Vec::new() }
    }

    /// What is decoded next begins with its unit.
    fn stop(&mut self) {
        // A decoder that refused its input can be used for other input.
        self.at = u64::MAX;
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<Result<VerifiedChunk, DigestMismatch>, UnitError> {
        if self.stream.is_none() || self.unit != chunk.units.start || self.at > chunk.inner {
            self.enter(chunk.units.start)?;
        }
        while self.at < chunk.inner {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.resize(32 << 10, 0);
            let now = usize::try_from(chunk.inner - self.at).unwrap_or(usize::MAX).min(scratch.len());
            // Bytes before the chunk are in its own unit.
            let skipped = self.read(&mut scratch[..now])?;
            self.scratch = scratch;
            if skipped == 0 {
                return Err(UnitError::TooShort);
            }
        }
        let Some(digest) = chunk.digest else {
            let Some(Stream::Verified(span)) = &mut self.stream else { return Err(UnitError::NoDigest) };
            self.at += chunk.length();
            return Ok(Ok(span.chunk(chunk.length())?));
        };
        let mut bytes = vec![0; usize::try_from(chunk.length()).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            let new = self.read(&mut bytes[filled..])?;
            filled += new;
            if new == 0 {
                let next = self.unit + 1;
                if next >= chunk.units.end {
                    return Err(UnitError::TooShort);
                }
                self.enter(next)?;
            }
        }
        Ok(UnverifiedChunk::new(bytes).verify(&digest))
    }

    /// Goes to the begin of a unit.
    fn enter(&mut self, unit: u32) -> Result<(), UnitError> {
        let run = self.index.range_of(&self.units);
        let range = self.index.unit(UnitId(unit));
        let at = |offset: crate::BlobOffset| {
            usize::try_from(offset.0.saturating_sub(run.start.0)).unwrap_or(usize::MAX)
        };
        let bytes = self.blob.get(at(range.start)..at(range.end)).ok_or(UnitError::TooShort)?;
        let stream = match (self.index.format(), self.stream.take()) {
            (Format::EStargz, _) => Stream::Member(Member::new(bytes)),
            (Format::ZstdChunked | Format::Zstd, Some(Stream::Frames(mut frames))) => {
                frames.restart(bytes)?;
                Stream::Frames(frames)
            }
            (Format::ZstdChunked | Format::Zstd, _) => Stream::Frames(Frames::new(bytes)?),
            (Format::Tar, _) => Stream::Plain(bytes),
            (Format::Gzip, _) => {
                let seek = self.index.seek.as_ref().ok_or(UnitError::NoSeekIndex)?;
                let range = seek.stream_range(UnitId(unit));
                let span = Spans::new(seek, UnitId(unit), bytes)?;
                Stream::Span(Box::new(span), range.end.saturating_sub(range.start))
            }
            (Format::Soci, _) => {
                let seek = self.index.seek.as_ref().ok_or(UnitError::NoSeekIndex)?;
                Stream::Verified(Box::new(VerifiedSpan::open(seek, UnitId(unit), bytes)?))
            }
        };
        (self.stream, self.unit, self.at) = (Some(stream), unit, 0);
        Ok(())
    }

    /// Decodes into `output` until it is full or the unit ends.
    fn read(&mut self, output: &mut [u8]) -> Result<usize, UnitError> {
        let count = match &mut self.stream {
            Some(Stream::Member(member)) => member.inflate(output)?,
            Some(Stream::Frames(frames)) => frames.decode(output)?,
            Some(Stream::Plain(bytes)) => {
                let count = bytes.len().min(output.len());
                let (now, rest) = bytes.split_at(count);
                output[..count].copy_from_slice(now);
                *bytes = rest;
                count
            }
            Some(Stream::Span(span, left)) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(output.len());
                span.fill(&mut output[..count])?;
                *left -= count as u64;
                count
            }
            Some(Stream::Verified(span)) => span.skip(output)?,
            None => 0,
        };
        self.at += count as u64;
        Ok(count)
    }
}
