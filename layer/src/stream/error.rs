//! Why a layer cannot be streamed.

use std::io;

use crate::BlobOffset;
use crate::data::LayoutError;
use crate::unpack::EntryError;

/// Why a blob does not become a tar, or a tar not a tree. Messages name the place and the check; the caller adds the
/// layer.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Not what it should be, or damaged.
    #[error("{format} data is damaged before byte {at} of the layer: {reason}")]
    Corrupt {
        /// "gzip" or "zstd".
        format: &'static str,
        /// How far the blob was read.
        at: BlobOffset,
        /// The decoder's word.
        reason: String,
    },
    /// The blob ends where it must not.
    #[error("{format} data is cut short: the layer ends after {at} bytes in the middle of it")]
    Truncated {
        /// "gzip" or "zstd".
        format: &'static str,
        /// Bytes of the blob.
        at: BlobOffset,
    },
    /// Something else behind the last gzip member or zstd frame. gzip(1) would ignore it, containerd does not.
    #[error("{format} data ends at byte {at} of the layer, and something else follows")]
    Garbage {
        /// "gzip" or "zstd".
        format: &'static str,
        /// Where it begins.
        at: BlobOffset,
    },
    /// No memory, or a library that refuses what it has no reason to.
    #[error("the {0} decoder cannot be set up")]
    Decoder(&'static str),
    /// The tar is not one, or ends early.
    #[error("byte {at} of the layer's tar: {problem}")]
    Tar {
        /// Where in the uncompressed bytes.
        at: u64,
        /// What is wrong.
        problem: TarProblem,
    },
    /// One entry of the tar.
    #[error("{name:?}, entry {number} of the layer's tar: {problem}")]
    Entry {
        /// Which one, from 1.
        number: u64,
        /// Its name, cut if it is long.
        name: String,
        /// What is wrong with it.
        problem: TarProblem,
    },
    /// File bytes could not be stored.
    #[error("file bytes cannot be stored: {0}")]
    Sink(#[source] io::Error),
}

/// What is wrong with a tar, or with one of its entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarProblem {
    /// Its header, or one that goes before it.
    #[error("{0}")]
    Header(&'static str),
    /// The tar ends in the middle of something.
    #[error("the tar ends in the middle of {0}")]
    Truncated(&'static str),
    /// containerd knows no such entries either ("unhandled tar header type").
    #[error("type {:?} is not known", char::from(*.0))]
    Type(u8),
    /// More than [`crate::Limits::entries`].
    #[error("more than {0} entries")]
    TooManyEntries(u64),
    /// More than [`crate::Limits::chunks`].
    #[error("more than {0} pieces of files")]
    TooManyChunks(u64),
    /// As a file of the tree.
    #[error(transparent)]
    Unpack(#[from] EntryError),
    /// As data.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}
