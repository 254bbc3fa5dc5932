//! Reading parts of a blob that is about to be indexed.
//!
//! A small blob is fetched whole, in one request: that costs less than the two or three for an index and the first
//! files, and the layer is complete afterwards.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use peel_layer::{BlobOffset, LayerDigest};

use super::Wanted;
use crate::layers::{
    error::{Cause, GateError},
    progress::Progress,
    sources::Place,
};

/// Most that is read in one request, so that progress is seen on a slow link.
const PIECE: u64 = 4 << 20;

/// First guess at the length of what describes a layer at the end of its blob. A TOC takes about half a hundredth of its
/// layer, compressed (measured on ten Debian and Python layers: 0.42 to 0.62 %, of one of few large files 0.1 %); a wrong
/// guess costs a second request, and what is too much is content that may not be wanted.
const TAIL_SHARE: u64 = 128;
const TAIL_MIN: u64 = 64 << 10;
const TAIL_MAX: u64 = 2 << 20;

/// A blob at one place.
pub(super) struct Blob<'a> {
    pub(super) wanted: &'a Wanted,
    place: &'a Place,
    progress: &'a Progress,
    /// What is here: the whole of a small blob, or nothing.
    whole: Option<Bytes>,
}

impl<'a> Blob<'a> {
    /// Fetches it, if it is small.
    pub(super) async fn open(
        wanted: &'a Wanted,
        place: &'a Place,
        progress: &'a Progress,
    ) -> Result<Self, GateError> {
        let mut blob = Self { wanted, place, progress, whole: None };
        if wanted.size > wanted.whole_up_to {
            return Ok(blob);
        }
        let whole = blob.read(BlobOffset(0)..BlobOffset(wanted.size)).await?;
        // All of it is here, so it can be checked before anything else.
        let (expected, found) = (wanted.key.layer, LayerDigest::of(&whole));
        if found != expected {
            let detail = format_args!("the blob has digest {found}, from {}", place.describe());
            return Err(wanted.error(Cause::WrongBytes, detail));
        }
        blob.whole = Some(whole);
        Ok(blob)
    }

    /// Another blob that describes the wanted one.
    pub(super) fn beside(wanted: &'a Wanted, place: &'a Place, progress: &'a Progress) -> Self {
        Self { wanted, place, progress, whole: None }
    }

    /// The bytes of a small blob.
    pub(super) fn into_whole(self) -> Option<Bytes> {
        self.whole
    }

    /// Exactly these bytes.
    pub(super) async fn read(&self, range: Range<BlobOffset>) -> Result<Bytes, GateError> {
        if let Some(whole) = &self.whole {
            return Ok(part(whole, BlobOffset(0), &range));
        }
        let mut read = BytesMut::new();
        let mut start = range.start;
        loop {
            let end = BlobOffset(start.0.saturating_add(PIECE)).min(range.end);
            let piece = self.place.read(start..end).await;
            let piece = piece.map_err(|error| self.wanted.error(error.cause, error.detail))?;
            self.progress.add(piece.len() as u64);
            if end == range.end && read.is_empty() {
                return Ok(piece);
            }
            read.extend_from_slice(&piece);
            if end == range.end {
                return Ok(read.freeze());
            }
            start = end;
        }
    }

    /// The last bytes, at a guess with what describes the layer in them.
    pub(super) async fn tail(&self) -> Result<Tail, GateError> {
        let size = self.wanted.size;
        let guess = (size / TAIL_SHARE).clamp(TAIL_MIN, TAIL_MAX).min(size);
        let start = BlobOffset(size - guess);
        Ok(Tail { start, bytes: self.read(start..BlobOffset(size)).await? })
    }

    /// Exactly these bytes; those in `tail` are not read again.
    pub(super) async fn read_with(&self, tail: &Tail, range: Range<BlobOffset>) -> Result<Bytes, GateError> {
        if range.start >= tail.start {
            return Ok(part(&tail.bytes, tail.start, &range));
        }
        let mut whole = BytesMut::from(&self.read(range.start..tail.start.min(range.end)).await?[..]);
        whole.extend_from_slice(&part(&tail.bytes, tail.start, &(tail.start..range.end.max(tail.start))));
        Ok(whole.freeze())
    }
}

/// The end of a blob.
pub(super) struct Tail {
    pub(super) bytes: Bytes,
    start: BlobOffset,
}

/// `range` out of `bytes`, which begin at `start`; as much of it as there is.
fn part(bytes: &Bytes, start: BlobOffset, range: &Range<BlobOffset>) -> Bytes {
    let at = |offset: BlobOffset| {
        usize::try_from(offset.0.saturating_sub(start.0)).unwrap_or(usize::MAX).min(bytes.len())
    };
    bytes.slice(at(range.start)..at(range.end).max(at(range.start)))
}
