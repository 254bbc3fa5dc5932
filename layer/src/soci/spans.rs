//! Spans: pieces of a layer that can be decoded alone, each with the digest of its bytes in the blob.
//!
//! For gzip a span begins at a *checkpoint*, the end of a deflate block, of which the ztoc keeps the place, the bits
//! of the byte before that belong to it, and the 32 KiB of output before it (the *window*). For an uncompressed
//! layer spans are ranges of equal length. Layouts: layer-formats.md, B.2 and B.4.
//!
//! Everything in the checkpoints is somebody's claim. What can be checked without the blob is checked here, all of it,
//! so that later steps have nothing to refuse: order in both spaces, bounds, counts, and that no span claims more
//! bytes than its part of the blob can hold. The windows cannot be checked; see docs/trust.md.

use std::ops::Range;

use super::error::{SpanProblem, ZtocError};
use super::flat::{Table, Vector};
use crate::inflate::EXPANSION_MAX;
use crate::{BlobOffset, SpanDigest};

/// Output before a checkpoint that later bytes can refer to: deflate's largest distance (RFC 1951, 3.2.5).
const WINDOW: usize = 32 << 10;
/// A checkpoint: i64 in, i64 out, u8 bits, window.
const CHECKPOINT: usize = 8 + 8 + 1 + WINDOW;
/// Before them: i32 number of checkpoints, i64 span size.
const HEAD: usize = 4 + 8;
/// Where deflate data begins when nothing says otherwise: old writers left the first checkpoint out, and meant the
/// shortest gzip header (RFC 1952, 2.3).
const GZIP_HEADER: u64 = 10;
/// Most bytes of a span in the blob: it is fetched in one piece and hashed before any of it is decoded. Writers make
/// spans of 4 MiB uncompressed by default.
pub(super) const SPAN_MAX: u64 = 64 << 20;
/// Most spans: a row of each is in memory while an index is made. 4 TiB at the default size.
pub(super) const SPANS_MAX: u64 = 1 << 20;

/// One span, checked.
#[derive(Debug, Clone)]
pub(super) struct Span<'a> {
    /// Its bytes in the blob. With `bits` it shares its first byte with the span before.
    pub(super) blob: Range<BlobOffset>,
    /// Its bytes in the uncompressed layer.
    pub(super) stream: Range<u64>,
    /// How many high bits of its first byte are its own, 0 for all eight.
    pub(super) bits: u8,
    /// Output before it, as far as there can be any. Empty where nothing is compressed.
    pub(super) window: &'a [u8],
    /// Of its bytes in the blob.
    pub(super) digest: SpanDigest,
}

impl Span<'_> {
    /// The first byte that is the span's alone.
    pub(super) fn first_full(&self) -> BlobOffset {
        BlobOffset(self.blob.start.0.saturating_add(u64::from(self.bits != 0)))
    }
}

/// What a ztoc says about the layer as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Bytes of the blob.
    pub(super) blob: u64,
    /// Bytes of the tar up to its end: less than the stream, which may go on with padding.
    pub(super) archive: u64,
}

/// A checkpoint as it is written, or implied.
struct Checkpoint<'a> {
    /// The first full byte.
    input: u64,
    output: u64,
    bits: u8,
    window: &'a [u8],
}

/// All spans of a gzip layer.
pub(super) fn of_gzip<'a>(
    checkpoints: &'a [u8],
    sizes: Sizes,
    digests: &Digests<'a>,
) -> Result<Vec<Span<'a>>, ZtocError> {
    let (have, implied, rows) = split(checkpoints)?;
    digests.check_count(have as u64)?;
    let mut builder = Spans { sizes, digests, spans: Vec::with_capacity(have) };
    let first = implied.then_some(Ok(Checkpoint { input: GZIP_HEADER, output: 0, bits: 0, window: &[] }));
    for checkpoint in first.into_iter().chain(rows.iter().map(checkpoint)) {
        builder.start(&checkpoint?)?;
    }
    builder.finish()
}

/// All spans of an uncompressed layer; `info` is a flatbuffer of its own.
pub(super) fn of_tar<'a>(
    info: &'a [u8],
    sizes: Sizes,
    digests: &Digests<'a>,
) -> Result<Vec<Span<'a>>, ZtocError> {
    let info = Table::root(info)?;
    // version: i32, span_size: i64, size: i64.
    let (span_size, size) = (positive("span_size", info.i64(1)?)?, positive("size", info.i64(2)?)?);
    if size != sizes.blob {
        return Err(ZtocError::BlobSize { expected: sizes.blob, found: size });
    }
    if span_size == 0 {
        return Err(ZtocError::Value { field: "span_size", value: 0 });
    }
    let count = size.div_ceil(span_size);
    digests.check_count(count)?;
    let mut builder = Spans { sizes, digests, spans: Vec::new() };
    for start in (0..count).map(|number| number * span_size) {
        builder.start(&Checkpoint { input: start, output: start, bits: 0, window: &[] })?;
    }
    builder.finish_uncompressed()
}

/// Number of spans, whether the first is implied, and the rows of the others.
fn split(checkpoints: &[u8]) -> Result<(usize, bool, &[[u8; CHECKPOINT]]), ZtocError> {
    let (head, rest) = checkpoints.split_at_checked(HEAD).ok_or(ZtocError::Missing("checkpoints"))?;
    let have = i32::from_le_bytes(*head.first_chunk().ok_or(ZtocError::Missing("checkpoints"))?);
    let wrong = ZtocError::Checkpoints { have, bytes: checkpoints.len() };
    let (rows, odd) = rest.as_chunks();
    let count = usize::try_from(have).unwrap_or(0);
    // The version is not written: it follows from the length.
    let implied = count.checked_sub(1) == Some(rows.len());
    if count == 0 || !odd.is_empty() || !(implied || count == rows.len()) {
        return Err(wrong);
    }
    Ok((count, implied, rows))
}

fn checkpoint(row: &[u8; CHECKPOINT]) -> Result<Checkpoint<'_>, ZtocError> {
    let number =
        |at: usize| row.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |it| i64::from_le_bytes(*it));
    let (input, output) = (positive("checkpoint's in", number(0))?, positive("checkpoint's out", number(8))?);
    // What lies before the first byte of output is whatever the writer had in memory.
    let before = usize::try_from(output).unwrap_or(usize::MAX).min(WINDOW);
    let window = row.get(CHECKPOINT - before..).unwrap_or_default();
    Ok(Checkpoint { input, output, bits: row.get(16).copied().unwrap_or_default(), window })
}

pub(super) fn positive(field: &'static str, value: i64) -> Result<u64, ZtocError> {
    u64::try_from(value).map_err(|_| ZtocError::Value { field, value })
}

/// The digests of a ztoc's spans, and the number that it gives the last span.
pub(super) struct Digests<'a> {
    pub(super) list: Vector<'a>,
    pub(super) last: i32,
}

impl Digests<'_> {
    fn check_count(&self, spans: u64) -> Result<(), ZtocError> {
        if spans > SPANS_MAX {
            return Err(ZtocError::TooManySpans(spans));
        }
        let last = u64::try_from(self.last).ok().and_then(|last| last.checked_add(1));
        if spans != self.list.len() as u64 || last != Some(spans) {
            return Err(ZtocError::SpanCount { spans, digests: self.list.len(), last: self.last });
        }
        Ok(())
    }

    fn get(&self, number: usize) -> Result<SpanDigest, ZtocError> {
        let text = self.list.bytes(number)?;
        let digest = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        digest.ok_or(ZtocError::Span { number, problem: SpanProblem::Digest })
    }
}

/// Puts spans one behind the other. Each is open until the next begins.
struct Spans<'a, 'd> {
    sizes: Sizes,
    digests: &'d Digests<'a>,
    spans: Vec<Span<'a>>,
}

impl<'a> Spans<'a, '_> {
    fn start(&mut self, checkpoint: &Checkpoint<'a>) -> Result<(), ZtocError> {
        let number = self.spans.len();
        let error = |problem| ZtocError::Span { number, problem };
        let Checkpoint { input, output, bits, window } = *checkpoint;
        if bits > 7 {
            return Err(error(SpanProblem::Bits(bits)));
        }
        let start = input.checked_sub(u64::from(bits != 0)).ok_or_else(|| error(SpanProblem::First))?;
        if start >= self.sizes.blob {
            return Err(error(SpanProblem::OutsideBlob));
        }
        match self.spans.last_mut() {
            None if output != 0 => return Err(error(SpanProblem::First)),
            Some(last)
                if start <= last.blob.start.0
                    || input <= last.first_full().0
                    || output <= last.stream.start =>
            {
                return Err(error(SpanProblem::Order));
            }
            None => {}
            Some(last) => {
                // Up to and with the byte that the two may share.
                last.blob.end = BlobOffset(input);
                last.stream.end = output;
                self.check_last(Some(output))?;
            }
        }
        let digest = self.digests.get(number)?;
        let (blob, stream) = (BlobOffset(start)..BlobOffset(self.sizes.blob), output..output);
        self.spans.push(Span { blob, stream, bits, window, digest });
        Ok(())
    }

    fn finish_uncompressed(self) -> Result<Vec<Span<'a>>, ZtocError> {
        if self.sizes.archive > self.sizes.blob {
            let value = i64::try_from(self.sizes.archive).unwrap_or(i64::MAX);
            return Err(ZtocError::Value { field: "uncompressed_archive_size", value });
        }
        self.finish()
    }

    /// Ends the last span where the archive ends. Spans that begin behind that hold padding: nothing of theirs is ever
    /// asked for, and they are left out.
    fn finish(mut self) -> Result<Vec<Span<'a>>, ZtocError> {
        self.check_last(None)?;
        let archive = self.sizes.archive;
        self.spans.retain(|span| span.stream.start < archive.max(1));
        if let Some(last) = self.spans.last_mut() {
            last.stream.end = archive;
        }
        Ok(self.spans)
    }

    /// The bounds of one span.
    fn check_last(&self, end: Option<u64>) -> Result<(), ZtocError> {
        let Some(span) = self.spans.last() else { return Ok(()) };
        let error = |problem| ZtocError::Span { number: self.spans.len() - 1, problem };
        let held = span.blob.end.0 - span.blob.start.0;
        if held > SPAN_MAX {
            return Err(error(SpanProblem::TooLarge(held)));
        }
        let claimed = end.unwrap_or(self.sizes.archive).saturating_sub(span.stream.start);
        if claimed > held.saturating_mul(EXPANSION_MAX) {
            return Err(error(SpanProblem::Impossible { held, claimed }));
        }
        Ok(())
    }
}
