//! The index of a layer: what its chunks are, where they lie in the blob and in the data file, how they are
//! decoded, and which tree shows them.
//!
//! A [`LayerIndex`] is a view of the bytes of a chunk table, which the cache maps: opening one allocates nothing,
//! and a million chunks that nobody reads cost no memory. [`LayerIndex::parse`] checks the whole table once (its
//! own checksum, then every value that a later step relies on), so that accessors have nothing to refuse. They
//! are bounds-checked all the same: a file that changes under its mapping gives wrong chunks, which then fail
//! their digests, but no panic.
//!
//! Chunks are numbered in the order of the data file, which is also the order of the blob. The least that can be
//! decoded is a *unit*, and what that is depends on the [`Format`]. To have one chunk, fetch
//! [`LayerIndex::blob_range`] of its units; whoever has the bytes of a run of units gets all chunks in them for one
//! decoding with [`LayerIndex::decode_run`]. Bytes of the blob between units and behind the last belong to no chunk,
//! and what no chunk covers in the data file is zeros: padding between files, and holes in them.

mod decode;
mod files;
mod format;
mod key;
mod large;
mod layout;
mod parse;
mod tree;
mod with_seek;
mod write;

use std::{fmt, ops::Range};

pub use decode::{DecodeError, UnitError};
pub use files::IndexFiles;
pub use format::Format;
pub use key::{ChunkId, IndexKey, Landmark, UnitId};
pub use large::LargeFile;
pub use parse::TableError;
pub(crate) use tree::write_tree;
pub(crate) use write::{HashingWriter, TableBuilder, TableEnd};

use crate::seek::SeekIndex;
use crate::{BlobOffset, ChunkDigest, DataOffset};
use layout::{BY_DIGEST, CHUNK, DIGEST, Header, Sections, UNIT, decode_chunk, digest_at, u32_at, u64_at};

/// Largest chunk in bytes: one is held in memory while it is decoded and checked. Sixteen times what writers make
/// by default (4 MiB).
pub const CHUNK_MAX: u32 = 64 << 20;

/// One chunk, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its place in the data file: never empty, at most [`CHUNK_MAX`] bytes.
    pub data: Range<DataOffset>,
    /// Of its bytes; nothing where the format has digests of units only ([`Format::has_chunk_digests`]).
    pub digest: Option<ChunkDigest>,
    /// Numbers of the units that must be fetched and decoded to have it: never empty.
    pub units: Range<u32>,
    /// Where it begins in the decoded bytes of the first.
    pub inner: u64,
}

impl Chunk {
    /// Its bytes in the data file.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.data.end.0.saturating_sub(self.data.start.0)
    }
}

/// A checked chunk table. See the [module](self).
#[derive(Clone)]
pub struct LayerIndex<B> {
    bytes: B,
    header: Header,
    sections: Sections,
    /// Of formats that have one, once it was given.
    seek: Option<SeekIndex<B>>,
}

impl<B: AsRef<[u8]>> LayerIndex<B> {
    /// The blob and the description that this is the index of.
    #[must_use]
    pub fn key(&self) -> IndexKey {
        self.header.key
    }

    /// How the blob is encoded.
    #[must_use]
    pub fn format(&self) -> Format {
        self.header.format
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn blob_size(&self) -> u64 {
        self.header.blob_size
    }

    /// Bytes of the data file, a multiple of 4,096.
    #[must_use]
    pub fn data_size(&self) -> DataOffset {
        self.header.data_size
    }

    /// Bytes of all chunks together: what a complete cache holds, without padding.
    #[must_use]
    pub fn content_size(&self) -> u64 {
        self.header.content_size
    }

    /// sha256 of the tree image file.
    #[must_use]
    pub fn tree_digest(&self) -> [u8; 32] {
        self.header.tree_digest
    }

    /// What the image's author says about reading ahead.
    #[must_use]
    pub fn landmark(&self) -> Landmark {
        self.header.landmark
    }

    /// Number of chunks: ids are below it.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        self.header.chunks
    }

    /// Number of units: ids are below it.
    #[must_use]
    pub fn unit_count(&self) -> u32 {
        self.header.units
    }

    /// One chunk. An id of another index gives an empty chunk at best.
    #[must_use]
    pub fn chunk(&self, id: ChunkId) -> Chunk {
        decode_chunk(self.row(id), self.header.format)
    }

    /// Ids of the chunks that overlap `range` of the data file, in order. Where none does, the bytes are zeros.
    #[must_use]
    pub fn chunks_in(&self, range: Range<DataOffset>) -> Range<u32> {
        if range.is_empty() {
            return 0..0;
        }
        let first =
            self.partition(|row| u64_at(row, 0).saturating_add(u32_at(row, 8).into()) <= range.start.0);
        let end = self.partition(|row| u64_at(row, 0) < range.end.0);
        first..end.max(first)
    }

    /// A chunk whose bytes have this digest, if the table has one.
    #[must_use]
    pub fn find(&self, digest: &ChunkDigest) -> Option<ChunkId> {
        let at = |rank| self.digest_of(self.ranked(rank));
        let rank = partition_point(self.ranks(), |rank| at(rank) < *digest);
        (rank < self.ranks() && at(rank) == *digest).then(|| self.ranked(rank))
    }

    /// All chunks that have a digest, in the order of the digests: the layer's part of the content index.
    pub fn by_digest(&self) -> impl Iterator<Item = (ChunkDigest, ChunkId)> {
        (0..self.ranks()).map(|rank| {
            let id = self.ranked(rank);
            (self.digest_of(id), id)
        })
    }

    /// Directories that the layer implies but does not name, without leading slash, parents before children. Their
    /// mode, owner and xattrs in the tree image are stand-ins: see [`crate::implied`].
    pub fn implied(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = self.section(&self.sections.implied);
        bytes.split(|&byte| byte == 0).filter(|path| !path.is_empty())
    }

    /// What must be fetched to decode a chunk: its units.
    #[must_use]
    pub fn blob_range(&self, id: ChunkId) -> Range<BlobOffset> {
        self.range_of(&self.chunk(id).units)
    }

    /// Where adjacent units lie in the blob.
    #[must_use]
    pub fn range_of(&self, units: &Range<u32>) -> Range<BlobOffset> {
        if units.is_empty() {
            return BlobOffset(0)..BlobOffset(0);
        }
        self.unit(UnitId(units.start)).start..self.unit(UnitId(units.end - 1)).end
    }

    /// Where a unit lies in the blob.
    #[must_use]
    pub fn unit(&self, unit: UnitId) -> Range<BlobOffset> {
        if let Some(seek) = &self.seek {
            return seek.blob_range(unit);
        }
        let units = self.section(&self.sections.units);
        let at = unit.index().saturating_mul(UNIT);
        BlobOffset(u64_at(units, at))..BlobOffset(u64_at(units, at.saturating_add(UNIT)))
    }

    /// Ids of the chunks that lie wholly in these units; there may be none (a file that another entry of the layer
    /// hides).
    #[must_use]
    pub fn chunks_within(&self, units: Range<u32>) -> Range<u32> {
        let first = self.partition(|row| u32_at(row, 12) < units.start);
        let end = self.partition(|row| u32_at(row, 12).saturating_add(u32_at(row, 16)) <= units.end);
        first..end.max(first)
    }

    fn section(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.as_ref().get(range.clone()).unwrap_or_default()
    }

    fn row(&self, id: ChunkId) -> &[u8] {
        let at = id.index().saturating_mul(CHUNK);
        self.section(&self.sections.chunks).get(at..at.saturating_add(CHUNK)).unwrap_or_default()
    }

    fn digest_of(&self, id: ChunkId) -> ChunkDigest {
        ChunkDigest::from_bytes(digest_at(self.row(id), DIGEST))
    }

    /// Rows of the by-digest section.
    fn ranks(&self) -> u32 {
        if self.format().has_chunk_digests() { self.header.chunks } else { 0 }
    }

    fn ranked(&self, rank: u32) -> ChunkId {
        let at = ChunkId(rank).index().saturating_mul(BY_DIGEST);
        ChunkId(u32_at(self.section(&self.sections.by_digest), at))
    }

    /// How many chunks from the first are before a point.
    fn partition(&self, before: impl Fn(&[u8]) -> bool) -> u32 {
        partition_point(self.header.chunks, |id| before(self.row(ChunkId(id))))
    }
}

impl<B> fmt::Debug for LayerIndex<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerIndex({}, {} chunks)", self.header.key, self.header.chunks)
    }
}

/// As [`slice::partition_point`], over numbers.
fn partition_point(count: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests;
