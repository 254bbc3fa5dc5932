//! Opening a chunk table: everything that accessors and decoding rely on is checked here, once, in one pass.

use sha2::{Digest as _, Sha256};

use super::layout::{
    BY_DIGEST, CHUNK, DIGEST, FILE, FILE_DIGEST, Header, Sections, UNIT, decode_chunk, digest_at, u32_at,
    u64_at,
};
use super::{CHUNK_MAX, LayerIndex};

/// Why bytes are not a chunk table that this Peel can use. The index is disposable: it is made anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Shorter or longer than its header says.
    #[error("chunk table is cut short or has bytes behind its end")]
    Truncated,
    /// Something else.
    #[error("not a chunk table")]
    NotATable,
    /// Of another Peel.
    #[error("chunk table has version {0}, this Peel reads version {version}", version = super::layout::VERSION)]
    Version(u32),
    /// Bytes have changed since it was written.
    #[error("chunk table does not have its own checksum")]
    Checksum,
    /// A value that no writer writes.
    #[error("chunk table is inconsistent: {0}")]
    Invalid(&'static str),
}

impl<B: AsRef<[u8]>> LayerIndex<B> {
    /// Checks a whole chunk table: a second for a million chunks at worst, a few milliseconds usually.
    ///
    /// # Errors
    /// [`TableError`] says what is wrong with it.
    pub fn parse(bytes: B) -> Result<Self, TableError> {
        let all = bytes.as_ref();
        let header = Header::decode(all)?;
        let sections = Sections::of(&header).ok_or(TableError::Truncated)?;
        if sections.checksum.end != all.len() {
            return Err(TableError::Truncated);
        }
        if <[u8; 32]>::from(Sha256::digest(&all[..sections.checksum.start])) != all[sections.checksum.clone()]
        {
            return Err(TableError::Checksum);
        }
        check_units(&header, &all[sections.units.clone()])?;
        check_chunks(&header, &all[sections.chunks.clone()])?;
        let chunks = Rows { bytes: &all[sections.chunks.clone()], length: CHUNK, digest: DIGEST };
        check_order(&chunks, &all[sections.by_digest.clone()])?;
        check_files(&header, &all[sections.files.clone()])?;
        let files = Rows { bytes: &all[sections.files.clone()], length: FILE, digest: FILE_DIGEST };
        check_order(&files, &all[sections.files_by_digest.clone()])?;
        let implied = &all[sections.implied.clone()];
        if !implied.is_empty() && !implied.ends_with(&[0]) {
            return Err(TableError::Invalid("implied directories"));
        }
        Ok(Self { bytes, header, sections, seek: None })
    }
}

/// Units rise strictly and stay inside the blob.
fn check_units(header: &Header, units: &[u8]) -> Result<(), TableError> {
    let mut starts = units.chunks_exact(UNIT).map(|unit| u64_at(unit, 0));
    let mut last = starts.next().unwrap_or_default();
    for start in starts {
        if start <= last {
            return Err(TableError::Invalid("units are not in order"));
        }
        last = start;
    }
    if last > header.blob_size {
        return Err(TableError::Invalid("unit outside the blob"));
    }
    Ok(())
}

/// Chunks rise in the data file and in the blob, overlap in neither, and add up.
fn check_chunks(header: &Header, chunks: &[u8]) -> Result<(), TableError> {
    const ORDER: TableError = TableError::Invalid("chunks are not in the order of the blob");
    let (mut data, mut last, mut content) = (0u64, Place::default(), 0u64);
    for row in chunks.chunks_exact(CHUNK) {
        let chunk = decode_chunk(row, header.format);
        // As the row has it: a range of offsets is cut at the end of the space.
        let length = u64::from(u32_at(row, 8));
        if length == 0 || length > u64::from(CHUNK_MAX) {
            return Err(TableError::Invalid("size of a chunk"));
        }
        if chunk.data.start.0 < data {
            return Err(TableError::Invalid("chunks overlap in the data file"));
        }
        data = chunk.data.start.0.checked_add(length).ok_or(TableError::Invalid("end of a chunk"))?;
        let end = chunk.inner.checked_add(length).ok_or(TableError::Invalid("end of a chunk"))?;
        let units = chunk.units.len();
        if units == 0 || (units > 1 && !header.format.crosses_units()) {
            return Err(TableError::Invalid("number of a chunk's units"));
        }
        if chunk.units.end > header.units || chunk.units.start < last.unit {
            return Err(ORDER);
        }
        if chunk.units.start == last.unit && chunk.inner < last.reach {
            return Err(ORDER);
        }
        // How far a chunk reaches into the last of several units is not in the table.
        last = Place { unit: chunk.units.end - 1, reach: if units == 1 { end } else { 0 } };
        content += length;
    }
    if data > header.data_size.0 || !header.data_size.0.is_multiple_of(4096) {
        return Err(TableError::Invalid("size of the data file"));
    }
    if content != header.content_size {
        return Err(TableError::Invalid("sum of the chunks"));
    }
    Ok(())
}

/// Where the chunk before ended: its last unit, and how far it reached into that, decoded.
#[derive(Default)]
struct Place {
    unit: u32,
    reach: u64,
}

/// Files lie in the data file, in its order.
fn check_files(header: &Header, files: &[u8]) -> Result<(), TableError> {
    let mut last = 0;
    for row in files.chunks_exact(FILE) {
        let (start, length) = (u64_at(row, 0), u64_at(row, 8));
        if start < last {
            return Err(TableError::Invalid("files overlap in the data file"));
        }
        last = start.checked_add(length).ok_or(TableError::Invalid("end of a file"))?;
    }
    if last > header.data_size.0 { Err(TableError::Invalid("file outside the data file")) } else { Ok(()) }
}

/// Rows of one length, each with a digest at the same place.
struct Rows<'a> {
    bytes: &'a [u8],
    length: usize,
    digest: usize,
}

/// Whoever looks for a digest relies on their order.
fn check_order(rows: &Rows<'_>, by_digest: &[u8]) -> Result<(), TableError> {
    let mut last = [0; 32];
    for rank in by_digest.chunks_exact(BY_DIGEST) {
        let number = usize::try_from(u32_at(rank, 0)).unwrap_or(usize::MAX);
        let at = number.saturating_mul(rows.length);
        if at >= rows.bytes.len() {
            return Err(TableError::Invalid("digest of no row"));
        }
        let digest = digest_at(rows.bytes, at + rows.digest);
        if digest < last {
            return Err(TableError::Invalid("digests are not in order"));
        }
        last = digest;
    }
    Ok(())
}
