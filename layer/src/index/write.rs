//! Writing a chunk table. Rows are collected while a layer's index is read, in the order of the blob; sizes that
//! the header needs are known only at the end.

use std::io;

use sha2::{Digest as _, Sha256};

use super::layout::{CHUNK, DIGEST, FILE, FILE_DIGEST, Header, encode_chunk, encode_file};
use super::{Chunk, Format, IndexKey, Landmark, LargeFile};
use crate::{BlobOffset, DataOffset};

/// What is known when all chunks are.
#[derive(Debug)]
pub(crate) struct TableEnd<'a> {
    pub(crate) key: IndexKey,
    pub(crate) format: Format,
    pub(crate) tree_digest: [u8; 32],
    pub(crate) blob_size: u64,
    /// Where the last unit ends. Without meaning in formats with a seek index.
    pub(crate) units_end: BlobOffset,
    pub(crate) data_size: DataOffset,
    pub(crate) landmark: Landmark,
    pub(crate) implied: &'a [Vec<u8>],
}

/// Collects the rows of a table. The caller has checked order and bounds; `LayerIndex::parse` checks again.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder {
    units: Vec<u64>,
    chunks: Vec<[u8; CHUNK]>,
    files: Vec<[u8; FILE]>,
    content: u64,
}

impl TableBuilder {
    /// Starts the next unit and says its number.
    pub(crate) fn unit(&mut self, start: BlobOffset) -> u32 {
        self.units.push(start.0);
        u32::try_from(self.units.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds the next chunk, of 1 to [`super::CHUNK_MAX`] bytes, in units that were started.
    pub(crate) fn chunk(&mut self, chunk: &Chunk) {
        self.chunks.push(encode_chunk(chunk));
        self.content = self.content.saturating_add(chunk.length());
    }

    /// Chunks so far.
    /// A file of several chunks; in the order of the data file.
    pub(crate) fn file(&mut self, file: &LargeFile) {
        self.files.push(encode_file(file));
    }

    pub(crate) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Bytes of all chunks so far.
    pub(crate) fn content_size(&self) -> u64 {
        self.content
    }

    /// Writes the table.
    ///
    /// # Errors
    /// What `out` says, and if there are 2^32 chunks or units.
    pub(crate) fn write(self, end: &TableEnd<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        let too_many = |_| io::Error::other("too many chunks for a table");
        let header = Header {
            format: end.format,
            key: end.key,
            tree_digest: end.tree_digest,
            blob_size: end.blob_size,
            data_size: end.data_size,
            content_size: self.content,
            chunks: u32::try_from(self.chunks.len()).map_err(too_many)?,
            units: u32::try_from(self.units.len()).map_err(too_many)?,
            implied_bytes: end.implied.iter().map(|path| path.len() as u64 + 1).sum(),
            landmark: end.landmark,
            files: u32::try_from(self.files.len()).map_err(too_many)?,
        };
        let mut out = HashingWriter::new(io::BufWriter::with_capacity(1 << 16, out));
        out.put(&header.encode())?;
        if !end.format.has_seek_index() {
            for start in self.units.iter().chain([&end.units_end.0]) {
                out.put(&start.to_le_bytes())?;
            }
        }
        for row in &self.chunks {
            out.put(row)?;
        }
        let digests = if end.format.has_chunk_digests() { header.chunks } else { 0 };
        for id in order(digests, |id| self.chunks.get(id).map(|row| &row[DIGEST..])) {
            out.put(&id.to_le_bytes())?;
        }
        for row in &self.files {
            out.put(row)?;
        }
        for number in order(header.files, |number| self.files.get(number).map(|row| &row[FILE_DIGEST..])) {
            out.put(&number.to_le_bytes())?;
        }
        for path in end.implied {
            out.put(path)?;
            out.put(&[0])?;
        }
        let (digest, mut out) = out.finish();
        io::Write::write_all(&mut out, &digest)?;
        io::Write::flush(&mut out)
    }
}

/// Numbers in the order of their digests. Stable: of equal ones the first in the data file is found.
fn order<'a>(count: u32, digest: impl Fn(usize) -> Option<&'a [u8]>) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by(|a, b| digest(*a as usize).cmp(&digest(*b as usize)));
    order
}

/// Passes bytes on and knows their sha256.
#[derive(Debug)]
pub(crate) struct HashingWriter<W> {
    out: W,
    hash: Sha256,
}

impl<W: io::Write> HashingWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, hash: Sha256::new() }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }

    pub(crate) fn finish(self) -> ([u8; 32], W) {
        (self.hash.finalize().into(), self.out)
    }
}

impl<W: io::Write> io::Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
