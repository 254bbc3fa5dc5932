//! The seek index: how to begin in the middle of a deflate stream (docs/seek-index.md).
//!
//! gzip has no places to begin at. But whoever has decoded it once can note them: at the start of a deflate block, the
//! bit where it begins and the *window*, up to 32 KiB that went before and that later bytes refer to. Such a place is
//! a [`Checkpoint`], and what lies between two is a *span*, the unit of the formats that need this
//! ([`crate::Format::has_seek_index`]). Unit `n` of the layer is the span that begins at checkpoint `n`.
//!
//! [`SeekBuilder`] collects checkpoints while a layer is streamed (or from a SOCI ztoc, which brings its own, and a
//! digest for each span), [`SeekIndex`] is a view of the file, and [`Spans`] decodes a run of spans from their bytes.
//! Nothing in the file is secret or signed: it is made on this node from bytes that were checked, and whatever it says,
//! what comes out has to pass the digests of chunks or spans.

mod layout;
mod parse;
mod spans;
mod write;

pub use parse::{SeekError, SeekIndex};
pub use spans::Spans;
pub use write::{SeekBuilder, SeekEnd};

use crate::BlobOffset;

/// Largest window in bytes (RFC 1951: distances go back 32 KiB).
pub const WINDOW_MAX: usize = crate::inflate::sys::WINDOW;

/// A place where decoding can begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The first byte of the blob that is wholly behind the checkpoint.
    pub blob_at: BlobOffset,
    /// How many bits of the byte before belong to what is behind the checkpoint, its high ones: 0 to 7.
    pub bits: u8,
    /// Bytes that the blob decodes to before it.
    pub stream_at: u64,
    /// The decoded bytes before it, at most [`WINDOW_MAX`]; bytes that nothing refers to may be zeros, or missing at
    /// the start.
    pub window: Vec<u8>,
}

#[cfg(test)]
mod tests;
