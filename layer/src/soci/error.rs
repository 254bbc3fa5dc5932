//! Why a ztoc does not become an index.

use super::flat::Malformed;
use super::spans::{SPAN_MAX, SPANS_MAX};
use crate::TocDigest;
use crate::data::LayoutError;
use crate::unpack::{EntryError, XATTRS_MAX};

/// Why a layer has no index. Messages name the part and the check; the caller adds the layer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The bytes are not those that the SOCI index names.
    #[error("ztoc has digest {found}, the SOCI index says {expected}")]
    Digest {
        /// From the SOCI index.
        expected: TocDigest,
        /// Of the bytes.
        found: TocDigest,
    },
    /// The ztoc as a whole, or its spans.
    #[error("ztoc cannot be used: {0}")]
    Ztoc(#[from] ZtocError),
    /// One file.
    #[error("{name:?} at entry {number} of the ztoc: {problem}")]
    Entry {
        /// Which entry showed it, from 1, in the order of the tar.
        number: u64,
        /// Name of the file, cut if it is long.
        name: String,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// Chunks of the whole layer.
    #[error("end of the ztoc: {0}")]
    Layout(LayoutError),
    /// Paths of the whole layer.
    #[error("end of the ztoc: {0}")]
    Unpack(EntryError),
    /// The tree image.
    #[error("tree image cannot be written: {0}")]
    Tree(#[from] peel_erofs::WriteError),
    /// The chunk table.
    #[error("chunk table cannot be written: {0}")]
    Table(std::io::Error),
    /// The seek index.
    #[error("seek index cannot be written: {0}")]
    Seek(std::io::Error),
}

/// What is wrong with a ztoc as a whole, or with its spans. Entries of its TOC have errors of their own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZtocError {
    /// Its bytes.
    #[error("it is damaged: {0}")]
    Malformed(Malformed),
    /// A part without which nothing can be read.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A number that no writer writes.
    #[error("its {field} is {value}, which is not possible")]
    Value {
        /// As in the schema.
        field: &'static str,
        /// As in the ztoc.
        value: i64,
    },
    /// It was made for a blob of another size.
    #[error("it is of a blob of {found} bytes, the layer has {expected}")]
    BlobSize {
        /// From the image's manifest.
        expected: u64,
        /// From the ztoc.
        found: u64,
    },
    /// Neither gzip nor uncompressed.
    #[error("its compression is {0}, only 1 (gzip) and 2 (none) are known")]
    Compression(i8),
    /// The length of the checkpoints is not that of their number (layer-formats.md, B.2).
    #[error("{bytes} bytes of checkpoints are not {have} checkpoints")]
    Checkpoints {
        /// As the checkpoints say.
        have: i32,
        /// As they are long.
        bytes: usize,
    },
    /// Checkpoints, digests and the number of the last span do not go together.
    #[error("it has {spans} spans, {digests} digests of spans, and its last span is {last}")]
    SpanCount {
        /// Spans by the checkpoints.
        spans: u64,
        /// Span digests.
        digests: usize,
        /// `max_span_id`.
        last: i32,
    },
    /// More than `Limits::entries`.
    #[error("its TOC has more than {0} entries")]
    TooManyEntries(u64),
    /// Too many to hold.
    #[error("it has {0} spans, more than {SPANS_MAX} are refused")]
    TooManySpans(u64),
    /// One checkpoint.
    #[error("span {number}: {problem}")]
    Span {
        /// From 0.
        number: usize,
        /// What is wrong with it.
        problem: SpanProblem,
    },
}

/// What is wrong with an entry of the TOC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// Its bytes.
    #[error("its part of the ztoc is damaged: {0}")]
    Malformed(Malformed),
    /// As a file of the tree.
    #[error(transparent)]
    Unpack(#[from] EntryError),
    /// As data.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A field's value.
    #[error("{field} is {value}, which is not possible")]
    Value {
        /// Name of the field in the schema.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// Not a type of TOC entries.
    #[error("type {0:?} is not known")]
    Type(String),
    /// More than one file can have.
    #[error("more than {XATTRS_MAX} xattrs")]
    TooManyXattrs,
    /// Entries that share their strings, over and over.
    #[error("names, links and PAX records up to here have more bytes than are allowed in a layer")]
    TooMuchText,
    /// More than `Limits::chunks`.
    #[error("the layer has more than {0} pieces of files up to here")]
    TooManyChunks(u64),
    /// In the tar, headers and files follow each other in blocks of 512 bytes.
    #[error(
        "its content begins at byte {at} of the layer, which leaves no room for its header behind byte {end}"
    )]
    Place {
        /// Where its header should end.
        at: u64,
        /// Where what is before it ends, padded.
        end: u64,
    },
    /// The file goes past the layer's end.
    #[error("its content ends behind byte {0}, the end of the layer")]
    BehindTheEnd(u64),
}

impl From<Malformed> for EntryProblem {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// What is wrong with a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpanProblem {
    /// A byte has eight bits, and its last one would be the next byte's.
    #[error("it begins {0} bits into a byte")]
    Bits(u8),
    /// The first span begins somewhere else than the layer's content, or before the blob.
    #[error("the first span does not begin with the first byte of the layer")]
    First,
    /// Empty, or before the one before.
    #[error("it is not behind the span before, or the span before is empty")]
    Order,
    /// Beyond the blob.
    #[error("it begins at or behind the end of the blob")]
    OutsideBlob,
    /// More than is fetched at a time.
    #[error("it has {0} bytes in the blob, more than {SPAN_MAX} are refused")]
    TooLarge(u64),
    /// More bytes than any compression could have put there.
    #[error("it claims {claimed} bytes from {held}")]
    Impossible {
        /// Compressed bytes.
        held: u64,
        /// Uncompressed bytes.
        claimed: u64,
    },
    /// Not sha256.
    #[error("its digest is not sha256:<64 lower-case hex digits>")]
    Digest,
}

impl From<Malformed> for ZtocError {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}
