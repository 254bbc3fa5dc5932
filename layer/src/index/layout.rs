//! Bytes of a chunk table (docs/index-format.md): where each section lies, and the fixed header.
//!
//! Only this file knows offsets. Integers are little-endian. Sections follow each other without gaps in the order
//! header, units, chunks, by-digest, files, files by digest, implied, checksum; their sizes follow from counts in the header, and the file
//! must have exactly the sum.

use std::ops::Range;

use super::{Chunk, Format, IndexKey, Landmark, LargeFile, TableError};
use crate::{BlobOffset, ChunkDigest, DataOffset, LayerDigest, TocDigest};

pub(super) const MAGIC: [u8; 8] = *b"PEELCHNK";
/// Raised whenever an older Peel could misread a newer table; a table of another version is made anew.
pub(super) const VERSION: u32 = 2;
pub(super) const HEADER: usize = 192;
/// One u64 a unit, and one more: the end of the last. Formats with a seek index have their units there.
pub(super) const UNIT: usize = 8;
/// data u64, length u32, first unit u32, number of units u32, inner u64, digest.
pub(super) const CHUNK: usize = 60;
/// Where the digest is in a chunk's row.
pub(super) const DIGEST: usize = 28;
/// data u64, length u64, digest.
pub(super) const FILE: usize = 48;
/// Where a file's row has its digest.
pub(super) const FILE_DIGEST: usize = 16;
pub(super) const BY_DIGEST: usize = 4;
pub(super) const CHECKSUM: usize = 32;

/// The header's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) key: IndexKey,
    pub(super) tree_digest: [u8; 32],
    pub(super) blob_size: u64,
    pub(super) data_size: DataOffset,
    pub(super) content_size: u64,
    pub(super) chunks: u32,
    pub(super) units: u32,
    pub(super) implied_bytes: u64,
    pub(super) landmark: Landmark,
    /// Files of several chunks.
    pub(super) files: u32,
}

/// Where the sections are.
#[derive(Clone, Debug)]
pub(super) struct Sections {
    pub(super) units: Range<usize>,
    pub(super) chunks: Range<usize>,
    pub(super) by_digest: Range<usize>,
    pub(super) files: Range<usize>,
    pub(super) files_by_digest: Range<usize>,
    pub(super) implied: Range<usize>,
    pub(super) checksum: Range<usize>,
}

impl Sections {
    /// From the header's counts; nothing when the sum does not fit.
    pub(super) fn of(header: &Header) -> Option<Self> {
        let (chunks, units) = (usize::try_from(header.chunks).ok()?, usize::try_from(header.units).ok()?);
        let files = usize::try_from(header.files).ok()?;
        let mut end = HEADER;
        let mut section = |length: usize| {
            let start = end;
            end = start.checked_add(length)?;
            Some(start..end)
        };
        let format = header.format;
        let unit_rows = if format.has_seek_index() { 0 } else { units.checked_add(1)? };
        let digests = if format.has_chunk_digests() { chunks } else { 0 };
        Some(Self {
            units: section(unit_rows.checked_mul(UNIT)?)?,
            chunks: section(chunks.checked_mul(CHUNK)?)?,
            by_digest: section(digests.checked_mul(BY_DIGEST)?)?,
            files: section(files.checked_mul(FILE)?)?,
            files_by_digest: section(files.checked_mul(BY_DIGEST)?)?,
            implied: section(usize::try_from(header.implied_bytes).ok()?)?,
            checksum: section(CHECKSUM)?,
        })
    }
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let (landmark, place) = match self.landmark {
            Landmark::Absent => (0u32, 0u64),
            Landmark::NoPrefetch => (1, 0),
            Landmark::Prefetch(place) => (2, place.0),
        };
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.format.code().to_le_bytes());
        put(16, self.key.layer.as_bytes());
        put(48, self.key.described_by.as_bytes());
        put(80, &self.tree_digest);
        put(112, &self.blob_size.to_le_bytes());
        put(120, &self.data_size.0.to_le_bytes());
        put(128, &self.content_size.to_le_bytes());
        put(136, &self.chunks.to_le_bytes());
        put(140, &self.units.to_le_bytes());
        put(144, &self.implied_bytes.to_le_bytes());
        put(152, &landmark.to_le_bytes());
        put(160, &place.to_le_bytes());
        put(168, &self.files.to_le_bytes());
        bytes
    }

    /// Reads the header; its counts are not yet compared with the file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        let header = bytes.get(..HEADER).ok_or(TableError::Truncated)?;
        if header[..8] != MAGIC {
            return Err(TableError::NotATable);
        }
        let version = u32_at(header, 8);
        if version != VERSION {
            return Err(TableError::Version(version));
        }
        let format = Format::from_code(u32_at(header, 12)).ok_or(TableError::Invalid("format"))?;
        let landmark = match u32_at(header, 152) {
            0 => Landmark::Absent,
            1 => Landmark::NoPrefetch,
            2 => Landmark::Prefetch(BlobOffset(u64_at(header, 160))),
            _ => return Err(TableError::Invalid("landmark")),
        };
        let key = IndexKey {
            layer: LayerDigest::from_bytes(digest_at(header, 16)),
            described_by: TocDigest::from_bytes(digest_at(header, 48)),
        };
        Ok(Self {
            format,
            key,
            tree_digest: digest_at(header, 80),
            blob_size: u64_at(header, 112),
            data_size: DataOffset(u64_at(header, 120)),
            content_size: u64_at(header, 128),
            chunks: u32_at(header, 136),
            units: u32_at(header, 140),
            implied_bytes: u64_at(header, 144),
            landmark,
            files: u32_at(header, 168),
        })
    }
}

/// A chunk's row. A chunk without digest has zeros there; the table's format says which it is.
pub(super) fn encode_chunk(chunk: &Chunk) -> [u8; CHUNK] {
    let mut row = [0; CHUNK];
    let length = u32::try_from(chunk.length()).unwrap_or(u32::MAX);
    row[..8].copy_from_slice(&chunk.data.start.0.to_le_bytes());
    row[8..12].copy_from_slice(&length.to_le_bytes());
    row[12..16].copy_from_slice(&chunk.units.start.to_le_bytes());
    row[16..20].copy_from_slice(&chunk.units.end.saturating_sub(chunk.units.start).to_le_bytes());
    row[20..28].copy_from_slice(&chunk.inner.to_le_bytes());
    if let Some(digest) = &chunk.digest {
        row[DIGEST..].copy_from_slice(digest.as_bytes());
    }
    row
}

/// A chunk from its row.
pub(super) fn decode_chunk(row: &[u8], format: Format) -> Chunk {
    let first = u32_at(row, 12);
    Chunk {
        data: DataOffset(u64_at(row, 0)).span(u64::from(u32_at(row, 8))),
        units: first..first.saturating_add(u32_at(row, 16)),
        inner: u64_at(row, 20),
        digest: format.has_chunk_digests().then(|| ChunkDigest::from_bytes(digest_at(row, DIGEST))),
    }
}

/// The u32 at `at`, or 0 past the end (sections are checked before anything is read from them).
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |value| u32::from_le_bytes(*value))
}

/// The u64 at `at`, or 0 past the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |value| u64::from_le_bytes(*value))
}

/// The digest at `at`, or zeros past the end.
pub(super) fn digest_at(bytes: &[u8], at: usize) -> [u8; 32] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

/// One row of the files of several chunks.
pub(super) fn encode_file(file: &LargeFile) -> [u8; FILE] {
    let mut row = [0; FILE];
    row[..8].copy_from_slice(&file.data.start.0.to_le_bytes());
    let length = file.data.end.0.saturating_sub(file.data.start.0);
    row[8..16].copy_from_slice(&length.to_le_bytes());
    row[FILE_DIGEST..].copy_from_slice(file.digest.as_bytes());
    row
}
