//! The bytes of a file as they pass.

use sha2::{Digest as _, Sha256};

use super::super::{CHUNK, StreamError};
use super::sparse::Fragment;
use super::{BLOCK, DataSink, Piece, clamp};
use crate::index::LargeFile;
use crate::{ChunkDigest, DataOffset, FileDigest};

/// A file whose bytes are passing.
#[derive(Debug)]
pub(super) struct File {
    start: DataOffset,
    fragments: std::vec::IntoIter<Fragment>,
    /// What is left of the fragment that is passing.
    current: Fragment,
    /// The piece that is passing: its hash, and how much of it there is.
    hash: Sha256,
    hashed: u64,
    padding: Gap,
    /// Of a file of several pieces: what the whole is hashed with, and its size.
    whole: Option<(Sha256, u64)>,
}

impl File {
    /// A file at this block of the data file, of fragments that are not empty; `stored` is the sum of their lengths.
    pub(super) fn new(block: u32, fragments: Vec<Fragment>, stored: u64) -> Self {
        // Not of a sparse file: its digest is also that of its holes, which do not pass here.
        let is_large = stored > CHUNK && matches!(fragments[..], [Fragment { at: 0, .. }]);
        let mut fragments = fragments.into_iter();
        Self {
            start: DataOffset(u64::from(block) * crate::data::BLOCK),
            current: fragments.next().unwrap_or(Fragment { at: 0, length: 0 }),
            fragments,
            hash: Sha256::new(),
            hashed: 0,
            padding: Gap::padding(stored),
            whole: is_large.then(|| (Sha256::new(), stored)),
        }
    }

    /// Takes bytes of the file from the front of `bytes`, which lie at `stream` in the tar; says how many.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        stream: u64,
        pieces: &mut Vec<Piece>,
        sink: &mut dyn DataSink,
    ) -> Result<usize, StreamError> {
        let Fragment { at, length } = self.current;
        // Pieces end at whole MiBs of the file, and with their fragment.
        let to_end = (CHUNK - at % CHUNK).min(length);
        let now = clamp(to_end, bytes.len());
        let data = DataOffset(self.start.0 + at);
        let bytes = &bytes[..now];
        self.hash.update(bytes);
        if let Some((whole, _)) = &mut self.whole {
            whole.update(bytes);
        }
        sink.write(data, bytes).map_err(StreamError::Sink)?;
        self.hashed += now as u64;
        self.current = Fragment { at: at + now as u64, length: length - now as u64 };
        if now as u64 == to_end {
            pieces.push(Piece {
                data: DataOffset(self.start.0 + self.current.at - self.hashed),
                stream: stream + now as u64 - self.hashed,
                length: u32::try_from(self.hashed).unwrap_or(u32::MAX),
                digest: ChunkDigest::from_bytes(self.hash.finalize_reset().into()),
            });
            self.hashed = 0;
        }
        if self.current.length == 0 {
            self.current = self.fragments.next().unwrap_or(self.current);
        }
        Ok(now)
    }

    /// What its digest is, once it is over, if it has several pieces.
    pub(super) fn large(&mut self) -> Option<LargeFile> {
        let (whole, size) = self.whole.take()?;
        Some(LargeFile {
            data: self.start.span(size),
            digest: FileDigest::from_bytes(whole.finalize().into()),
        })
    }

    /// Whether all bytes have passed.
    pub(super) fn is_over(&self) -> bool {
        self.current.length == 0
    }

    /// What follows the file.
    pub(super) fn padding(&self) -> Gap {
        self.padding
    }
}

/// Bytes of the tar that are passed over: content that nobody wants, then what fills its last block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    content: u64,
    padding: u64,
}

impl Gap {
    /// Behind content of this size.
    pub(super) fn padding(size: u64) -> Self {
        let block = BLOCK as u64;
        Self { content: 0, padding: (block - size % block) % block }
    }

    /// Content of this size and what is behind it.
    pub(super) fn skipping(size: u64) -> Self {
        Self { content: size, ..Self::padding(size) }
    }

    /// Passes over some of `available` bytes; says how many.
    pub(super) fn take(&mut self, available: usize) -> usize {
        let content = clamp(self.content, available);
        let padding = clamp(self.padding, available - content);
        self.content -= content as u64;
        self.padding -= padding as u64;
        content + padding
    }

    pub(super) fn is_over(&self) -> bool {
        self.content == 0 && self.padding == 0
    }

    /// Nothing is missing when the tar ends here: Go's reader does not insist on a full last block.
    pub(super) fn is_padding(&self) -> bool {
        self.content == 0
    }
}
