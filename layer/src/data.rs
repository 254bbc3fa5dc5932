//! The data file of a layer: which byte of which chunk goes where.
//!
//! Every regular file gets a place of its own, aligned to 4 KiB, in the order in which the layer's index names the
//! files, which is that of the blob: filling is then sequential, and a cold read keeps the locality of the image.
//! While places are handed out, it is checked that chunks and holes cover their file exactly and that no sum
//! overflows. Where a chunk comes from is told in two ways: [`named`] for formats whose index says in which unit each
//! lies, [`stream`] for those that know its place in the uncompressed stream.

pub(crate) mod named;
pub(crate) mod stream;

use crate::index::CHUNK_MAX;
use crate::{BlobOffset, DataOffset};

/// Alignment of files in the data file: a block of the tree image.
pub(crate) const BLOCK: u64 = 4096;

/// What is wrong with a file's chunks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A chunk entry with no file before it.
    #[error("chunk of no file")]
    NoFile,
    /// Bytes between chunks, or behind the last, of which the index says nothing.
    #[error("chunks leave a gap at byte {at} of {size}")]
    Gap {
        /// Where.
        at: u64,
        /// Size of the file.
        size: u64,
    },
    /// Two chunks share bytes, or one goes past the end of the file.
    #[error("chunks overlap or pass the end of the file at byte {at} of {size}")]
    Overlap {
        /// Where.
        at: u64,
        /// Size of the file.
        size: u64,
    },
    /// Beyond [`CHUNK_MAX`], or empty.
    #[error("chunk of {0} bytes, at most {CHUNK_MAX} can be served")]
    ChunkSize(u64),
    /// Behind the last byte that can hold chunks.
    #[error("chunk at byte {at} of the blob, its content ends at {end}")]
    OutsideBlob {
        /// Where.
        at: BlobOffset,
        /// Where the TOC begins.
        end: BlobOffset,
    },
    /// Chunks are not in the order of the blob, or overlap in the uncompressed stream.
    #[error("chunk at byte {at} of the blob is not behind the one before")]
    Order {
        /// Where.
        at: BlobOffset,
    },
    /// More bytes than any compression could have put there.
    #[error("chunks claim {claimed} bytes from the {held} at byte {at} of the blob")]
    Impossible {
        /// Where.
        at: BlobOffset,
        /// Compressed bytes.
        held: u64,
        /// Uncompressed bytes.
        claimed: u64,
    },
    /// 16 TiB.
    #[error("layer is larger than 16 TiB")]
    TooLarge,
}

#[derive(Debug)]
struct File {
    start: DataOffset,
    size: u64,
    covered: u64,
    /// Whether the tree has it. What it lacks (a whiteout that has bytes) is checked and has no place.
    kept: bool,
}

/// Hands out places. Files come in the order of the blob, each with its chunks and holes behind it.
#[derive(Debug, Default)]
pub(crate) struct DataLayout {
    data_end: u64,
    file: Option<File>,
}

impl DataLayout {
    /// Starts a file of `size` bytes, the last being closed, and says its first block.
    pub(crate) fn open(&mut self, size: u64, kept: bool) -> Result<u32, LayoutError> {
        let start = self.data_end;
        let block = u32::try_from(start / BLOCK).map_err(|_| LayoutError::TooLarge)?;
        if kept {
            let end = start.checked_add(size).and_then(|end| end.checked_next_multiple_of(BLOCK));
            let end = end.filter(|end| end / BLOCK < peel_erofs::DATA_BLOCKS_MAX);
            self.data_end = end.ok_or(LayoutError::TooLarge)?;
        }
        self.file = Some(File { start: DataOffset(start), size, covered: 0, kept });
        Ok(block)
    }

    /// Size of the open file.
    pub(crate) fn file_size(&self) -> Result<u64, LayoutError> {
        self.file.as_ref().map(|file| file.size).ok_or(LayoutError::NoFile)
    }

    /// The next chunk of the open file, `length` bytes from byte `at` of it: where it lies in the data file, or
    /// nowhere if the tree does not have the file.
    pub(crate) fn chunk(&mut self, at: u64, length: u64) -> Result<Option<DataOffset>, LayoutError> {
        let file = self.cover(at, length)?;
        if length == 0 || length > u64::from(CHUNK_MAX) {
            return Err(LayoutError::ChunkSize(length));
        }
        let place = file.start.checked_add(at).ok_or(LayoutError::TooLarge)?;
        Ok(file.kept.then_some(place))
    }

    /// The next bytes of the open file are zeros, which nobody fetches.
    pub(crate) fn hole(&mut self, at: u64, length: u64) -> Result<(), LayoutError> {
        self.cover(at, length).map(drop)
    }

    fn cover(&mut self, at: u64, length: u64) -> Result<&File, LayoutError> {
        let file = self.file.as_mut().ok_or(LayoutError::NoFile)?;
        let size = file.size;
        if at > file.covered {
            return Err(LayoutError::Gap { at: file.covered, size });
        }
        if at < file.covered || length > size - file.covered {
            return Err(LayoutError::Overlap { at, size });
        }
        file.covered += length;
        Ok(file)
    }

    /// Ends the open file.
    pub(crate) fn close(&mut self) -> Result<(), LayoutError> {
        match self.file.take() {
            Some(File { size, covered, .. }) if covered < size => Err(LayoutError::Gap { at: covered, size }),
            _ => Ok(()),
        }
    }

    /// Size of the data file, once the last file is closed.
    pub(crate) fn size(&self) -> DataOffset {
        DataOffset(self.data_end)
    }
}

#[cfg(test)]
mod tests;
