//! Where a blob can be decoded from, noted while it is decoded.

use super::Compression;
use crate::BlobOffset;
use crate::seek::{Checkpoint, SeekBuilder};

/// Decoded bytes between two checkpoints of gzip, where its blocks allow it: a read of what was evicted fetches and
/// decodes one span at least, and a checkpoint costs its window (docs/seek-index.md has what was measured).
pub(super) const SPACING: u64 = 4 << 20;

/// The units of a blob that was decoded to its end.
#[derive(Debug)]
pub struct Units {
    pub(super) compression: Compression,
    /// Where units begin in the blob; of a span of gzip the first byte with bits of its own.
    pub(super) blob: Vec<BlobOffset>,
    /// Where they begin in the decoded bytes.
    pub(super) stream: Vec<u64>,
    /// Of gzip: the same places, with what decoding needs there.
    pub(super) seek: Option<SeekBuilder>,
    pub(super) blob_size: u64,
    pub(super) stream_size: u64,
}

impl Units {
    pub(super) fn new(compression: Compression) -> Self {
        let seek = matches!(compression, Compression::Gzip).then(SeekBuilder::default);
        Self { compression, blob: Vec::new(), stream: Vec::new(), seek, blob_size: 0, stream_size: 0 }
    }

    /// What the blob turned out to be; not [`Compression::Unknown`].
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn blob_size(&self) -> u64 {
        self.blob_size
    }

    /// Bytes that it decodes to: the size of the tar.
    #[must_use]
    pub fn stream_size(&self) -> u64 {
        self.stream_size
    }

    /// Number of units.
    #[must_use]
    pub fn count(&self) -> usize {
        self.stream.len()
    }

    /// Decoded bytes since the last unit began.
    pub(super) fn since_last(&self, stream: u64) -> Option<u64> {
        self.stream.last().map(|last| stream.saturating_sub(*last))
    }

    pub(super) fn start(&mut self, blob: BlobOffset, stream: u64) {
        self.blob.push(blob);
        self.stream.push(stream);
    }

    pub(super) fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let shared = u64::from(checkpoint.bits != 0);
        self.start(BlobOffset(checkpoint.blob_at.0.saturating_sub(shared)), checkpoint.stream_at);
        if let Some(seek) = &mut self.seek {
            seek.push(checkpoint, None);
        }
    }
}
