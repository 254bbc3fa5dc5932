//! Only verified bytes exist.
//!
//! Decoding yields an [`UnverifiedChunk`], which can do one thing: be compared with the digest that the
//! layer's index has for it. That gives a [`VerifiedChunk`], the only thing that the cache stores, and a slice
//! of it or a read of the cache is [`VerifiedBytes`], the only thing that a FUSE reply takes. Where an index has digests
//! of compressed spans instead, `span` checks those and decodes, and nothing else makes a chunk without its digest.
//!
//! Bytes here live in anonymous memory, never in a mapped file: a reply sliced from a mapping, cut by
//! `kill -9` in its page fault, becomes EIO for the reader (design.md, "Replies come from anonymous memory").

mod span;

use std::ops::{Deref, Range};

use bytes::Bytes;

pub use span::SpanMismatch;
pub(crate) use span::VerifiedSpan;

use crate::digest::ChunkDigest;

/// Decoded bytes that nobody has checked yet.
#[must_use]
#[derive(Debug)]
pub struct UnverifiedChunk(Bytes);

/// The bytes are not what the index promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("chunk has digest {found}, its index says {expected}")]
pub struct DigestMismatch {
    /// What the index says.
    pub expected: ChunkDigest,
    /// What the bytes have.
    pub found: ChunkDigest,
}

impl UnverifiedChunk {
    /// Wraps what a decoder produced.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, if they have the digest `expected`.
    ///
    /// # Errors
    /// [`DigestMismatch`]; the bytes are gone.
    pub fn verify(self, expected: &ChunkDigest) -> Result<VerifiedChunk, DigestMismatch> {
        let found = ChunkDigest::of(&self.0);
        if found == *expected {
            Ok(VerifiedChunk { bytes: self.0, digest: found })
        } else {
            Err(DigestMismatch { expected: *expected, found })
        }
    }
}

/// One whole chunk whose digest was checked, or which was decoded from a span whose digest was.
#[derive(Debug, Clone)]
pub struct VerifiedChunk {
    bytes: Bytes,
    digest: ChunkDigest,
}

impl VerifiedChunk {
    /// The digest that was checked, or learned.
    #[must_use]
    pub fn digest(&self) -> &ChunkDigest {
        &self.digest
    }

    /// The bytes of the chunk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A store's word that it only ever held verified chunks and that the bytes at hand were pinned while they
/// were read. Made by the cache and by nobody else; whoever makes one answers for the claim.
#[derive(Debug, Clone, Copy)]
pub struct StoreAttestation(());

impl StoreAttestation {
    /// Called where a read under a pin has come back whole.
    #[must_use]
    pub const fn only_verified_chunks_were_stored() -> Self {
        Self(())
    }
}

/// Bytes that may be shown to a reader: from verified chunks, with zeros where the data file has gaps.
#[derive(Debug, Clone, Default)]
pub struct VerifiedBytes(Bytes);

impl VerifiedBytes {
    /// Bytes read back from a store of verified chunks.
    #[must_use]
    pub fn from_store(bytes: Vec<u8>, _: StoreAttestation) -> Self {
        Self(bytes.into())
    }

    /// `length` zeros: padding between files, and holes.
    #[must_use]
    pub fn zeros(length: usize) -> Self {
        Self(vec![0; length].into())
    }
}

impl From<VerifiedChunk> for VerifiedBytes {
    fn from(chunk: VerifiedChunk) -> Self {
        Self(chunk.bytes)
    }
}

impl Deref for VerifiedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Puts a reply together from verified chunks; what no chunk covers stays zero.
#[derive(Debug)]
pub struct Assembly {
    start: u64,
    buffer: Vec<u8>,
}

impl Assembly {
    /// For `range` of the data file, all zeros so far.
    #[must_use]
    pub fn new(range: Range<crate::DataOffset>) -> Self {
        let length = usize::try_from(range.end.0.saturating_sub(range.start.0)).unwrap_or(0);
        Self { start: range.start.0, buffer: vec![0; length] }
    }

    /// Copies the part of `chunk`, which lies at `at`, that the range covers.
    pub fn put(&mut self, at: crate::DataOffset, chunk: &VerifiedChunk) {
        self.copy(at, &chunk.bytes);
    }

    /// Copies the part of bytes that a store vouches for, which lie at `at`, that the range covers.
    pub fn put_stored(&mut self, at: crate::DataOffset, bytes: &VerifiedBytes) {
        self.copy(at, &bytes.0);
    }

    fn copy(&mut self, at: crate::DataOffset, bytes: &[u8]) {
        let end = self.start + self.buffer.len() as u64;
        let (from, to) = (at.0.max(self.start), (at.0 + bytes.len() as u64).min(end));
        if from < to {
            let index = |offset: u64, base: u64| usize::try_from(offset - base).unwrap_or(usize::MAX);
            self.buffer[index(from, self.start)..index(to, self.start)]
                .copy_from_slice(&bytes[index(from, at.0)..index(to, at.0)]);
        }
    }

    /// The whole range.
    #[must_use]
    pub fn finish(self) -> VerifiedBytes {
        VerifiedBytes(self.buffer.into())
    }
}
