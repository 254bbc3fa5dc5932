//! Opening a seek index: everything that decoding relies on is checked here, once.

use std::{fmt, ops::Range};

use sha2::{Digest as _, Sha256};

use super::layout::{DIGEST, Header, ROW, Row, Sections};
use super::{Checkpoint, SeekEnd, WINDOW_MAX};
use crate::inflate::InflateError;
use crate::{BlobOffset, UnitId};

/// Why bytes are not a seek index that this Peel can use. The index is disposable: it is made anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeekError {
    /// Shorter or longer than its header says.
    #[error("seek index is cut short or has bytes behind its end")]
    Truncated,
    /// Something else.
    #[error("not a seek index")]
    NotAnIndex,
    /// Of another Peel.
    #[error("seek index has version {0}, this Peel reads version {version}", version = super::layout::VERSION)]
    Version(u32),
    /// Bytes have changed since it was written.
    #[error("seek index does not have its own checksum")]
    Checksum,
    /// A value that no writer writes.
    #[error("seek index is inconsistent: {0}")]
    Invalid(&'static str),
}

/// A checked seek index. Bytes may be mapped: opening one allocates nothing.
#[derive(Clone)]
pub struct SeekIndex<B> {
    bytes: B,
    header: Header,
    sections: Sections,
}

impl<B: AsRef<[u8]>> SeekIndex<B> {
    /// Checks a whole seek index, some milliseconds for each 10 MB. Windows are decompressed when they are needed.
    ///
    /// # Errors
    /// [`SeekError`] says what is wrong with it.
    pub fn parse(bytes: B) -> Result<Self, SeekError> {
        let all = bytes.as_ref();
        let header = Header::decode(all)?;
        let sections = Sections::of(&header).ok_or(SeekError::Truncated)?;
        if sections.checksum.end != all.len() {
            return Err(SeekError::Truncated);
        }
        let checksum = <[u8; 32]>::from(Sha256::digest(&all[..sections.checksum.start]));
        if checksum != all[sections.checksum.clone()] {
            return Err(SeekError::Checksum);
        }
        check(&header, &all[sections.rows.clone()])?;
        Ok(Self { bytes, header, sections })
    }

    /// Number of units: ids are below it.
    #[must_use]
    pub fn unit_count(&self) -> u32 {
        self.header.units
    }

    /// Where the last unit ends.
    #[must_use]
    pub fn end(&self) -> SeekEnd {
        SeekEnd { blob: BlobOffset(self.header.blob_end), stream: self.header.stream_end }
    }

    /// The blob is not compressed, and a unit's bytes are what it decodes to.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.header.plain
    }

    /// What must be fetched to decode a unit: the byte that it shares with the one before is included.
    #[must_use]
    pub fn blob_range(&self, unit: UnitId) -> Range<BlobOffset> {
        let start = self.row(unit).map_or(self.header.blob_end, |row| row.blob_start());
        let next = self.next(unit).map_or(self.header.blob_end, |row| row.blob_at);
        BlobOffset(start)..BlobOffset(next)
    }

    /// What a unit is of the decoded bytes.
    #[must_use]
    pub fn stream_range(&self, unit: UnitId) -> Range<u64> {
        let start = self.row(unit).map_or(self.header.stream_end, |row| row.stream_at);
        start..self.next(unit).map_or(self.header.stream_end, |row| row.stream_at)
    }

    /// sha256 of [`SeekIndex::blob_range`], in formats that have it.
    #[must_use]
    pub fn span_digest(&self, unit: UnitId) -> Option<[u8; 32]> {
        let at = unit.index().checked_mul(DIGEST)?;
        self.section(&self.sections.digests).get(at..)?.first_chunk().copied()
    }

    /// Where a unit begins, with its window.
    ///
    /// # Errors
    /// [`InflateError::Corrupt`]: no such unit, or its window cannot be decompressed.
    pub fn checkpoint(&self, unit: UnitId) -> Result<Checkpoint, InflateError> {
        let row = self.row(unit).ok_or(InflateError::Corrupt)?;
        let before = unit.index().checked_sub(1).and_then(|at| self.row_at(at));
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let window = index(before.map_or(0, |row| row.window_end))..index(row.window_end);
        let window = match self.section(&self.sections.windows).get(window) {
            Some([]) => Vec::new(),
            Some(compressed) => {
                zstd::bulk::decompress(compressed, WINDOW_MAX).map_err(|_| InflateError::Corrupt)?
            }
            None => return Err(InflateError::Corrupt),
        };
        Ok(Checkpoint { blob_at: BlobOffset(row.blob_at), bits: row.bits, stream_at: row.stream_at, window })
    }

    fn section(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.as_ref().get(range.clone()).unwrap_or_default()
    }

    fn row(&self, unit: UnitId) -> Option<Row> {
        self.row_at(unit.index())
    }

    fn next(&self, unit: UnitId) -> Option<Row> {
        self.row_at(unit.index().checked_add(1)?)
    }

    fn row_at(&self, at: usize) -> Option<Row> {
        let at = at.checked_mul(ROW)?;
        self.section(&self.sections.rows).get(at..at.checked_add(ROW)?).map(Row::decode)
    }
}

impl<B> fmt::Debug for SeekIndex<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeekIndex({} units)", self.header.units)
    }
}

/// Checkpoints rise in both spaces, and windows follow each other to the end of their section.
fn check(header: &Header, rows: &[u8]) -> Result<(), SeekError> {
    let mut last: Option<Row> = None;
    for row in rows.chunks_exact(ROW).map(Row::decode) {
        if row.bits > 7 || (row.bits > 0 && row.blob_at == 0) {
            return Err(SeekError::Invalid("bits of a checkpoint"));
        }
        if header.plain && (row.bits > 0 || row.window_end > 0 || row.blob_at != row.stream_at) {
            return Err(SeekError::Invalid("checkpoint of a blob that is not compressed"));
        }
        match last {
            None if row.stream_at > 0 => return Err(SeekError::Invalid("first checkpoint")),
            Some(last)
                if row.stream_at <= last.stream_at
                    || row.blob_at <= last.blob_at
                    || row.blob_start() < last.blob_at =>
            {
                return Err(SeekError::Invalid("checkpoints are not in order"));
            }
            _ => {}
        }
        if row.window_end < last.unwrap_or_default().window_end {
            return Err(SeekError::Invalid("windows are not in order"));
        }
        last = Some(row);
    }
    let last = last.ok_or(SeekError::Invalid("no checkpoint"))?;
    // The last may stand at the very end: behind it is the end of the last member alone.
    if last.blob_at > header.blob_end || last.stream_at > header.stream_end {
        return Err(SeekError::Invalid("checkpoint behind the end"));
    }
    if last.window_end != header.windows {
        return Err(SeekError::Invalid("size of the windows"));
    }
    Ok(())
}
