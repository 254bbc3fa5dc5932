//! Finding bytes that the node has already, in whatever layer.
//!
//! Every open layer is asked. A table is searched only when the layer's filter, a byte a chunk, says that it may have
//! the digest; nearly all say no. What that costs, and why there is no merged lookup file over all tables, is in
//! docs/cache-on-disk.md, "Finding content".

use std::ops::Range;

use peel_layer::{ChunkDigest, ChunkId, FileDigest, UnverifiedChunk, VerifiedChunk};

use crate::{Layer, Read};

/// Says for sure that a table has not a digest: one bit at a place that the digest gives. A digest is random
/// already, so its own first bytes are the hash.
#[derive(Debug)]
pub(crate) struct ContentFilter {
    bits: Vec<u64>,
    mask: u64,
}

/// Bits a chunk: one in eight wrong hits costs a binary search, a byte a chunk is 1 MB for a million files.
const BITS_PER_CHUNK: u64 = 8;

impl ContentFilter {
    fn new(digests: impl ExactSizeIterator<Item = ChunkDigest>) -> Self {
        let bits = (digests.len() as u64 * BITS_PER_CHUNK).next_power_of_two().max(64);
        let words = usize::try_from(bits / 64).unwrap_or(1);
        let mut filter = Self { bits: vec![0; words], mask: bits - 1 };
        for digest in digests {
            let (word, bit) = filter.place(&digest);
            if let Some(word) = filter.bits.get_mut(word) {
                *word |= bit;
            }
        }
        filter
    }

    fn place(&self, digest: &ChunkDigest) -> (usize, u64) {
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        let place = u64::from_be_bytes([a, b, c, d, e, f, g, h]) & self.mask;
        (usize::try_from(place / 64).unwrap_or(0), 1 << (place % 64))
    }

    fn may_have(&self, digest: &ChunkDigest) -> bool {
        let (word, bit) = self.place(digest);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }
}

impl Layer {
    /// The bytes with this digest, if this layer has them in the cache. The digest is the receiver's: bytes that
    /// a table merely claims to have it are not given out.
    pub(crate) fn find_content(&self, digest: &ChunkDigest) -> Option<VerifiedChunk> {
        self.find_chunk(digest).and_then(|id| self.chunk(id)).filter(|chunk| chunk.digest() == digest)
    }

    /// The chunk that is said to have this digest.
    fn find_chunk(&self, digest: &ChunkDigest) -> Option<ChunkId> {
        // The filter first: it says no for nearly all layers, and is one access to memory.
        if let Some(filter) = self.filter.get() {
            return if filter.may_have(digest) { self.index().find(digest) } else { None };
        }
        // Whoever has nothing needs none.
        if self.store.files()?.bits().is_empty() {
            return None;
        }
        let filter = self.filter.get_or_init(|| {
            let digest = |id| self.index().chunk(ChunkId(id)).digest;
            let digests: Vec<_> = (0..self.index().chunk_count()).filter_map(digest).collect();
            ContentFilter::new(digests.into_iter())
        });
        if filter.may_have(digest) { self.index().find(digest) } else { None }
    }

    /// A part of a file that this layer says to have whole, if it is here and has the digest `expected`. `part` is in
    /// bytes of the file, which has `size`.
    pub(crate) fn find_part(
        &self,
        file: &FileDigest,
        size: u64,
        part: &Range<u64>,
        expected: &ChunkDigest,
    ) -> Option<VerifiedChunk> {
        let found = match self.index().find_file(file) {
            Some(large) => large.data,
            // A file of one chunk has that one's digest.
            None => self.index().chunk(self.find_chunk(&ChunkDigest::from_bytes(*file.as_bytes()))?).data,
        };
        if found.end.0.saturating_sub(found.start.0) != size || part.end > size {
            return None;
        }
        let start = found.start.checked_add(part.start)?;
        let Read::Whole(bytes) = self.read(start.span(part.end.saturating_sub(part.start))) else {
            return None;
        };
        // A file's digest is a claim of whoever made that layer.
        UnverifiedChunk::new(bytes.to_vec()).verify(expected).ok()
    }
}
