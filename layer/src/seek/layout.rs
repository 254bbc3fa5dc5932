//! Bytes of a seek index (docs/seek-index.md). Only this file knows offsets. Integers are little-endian; sections follow
//! each other without gaps in the order header, checkpoints, digests, windows, checksum.

use std::ops::Range;

use super::SeekError;

pub(super) const MAGIC: [u8; 8] = *b"PEELSEEK";
/// Raised whenever an older Peel could misread a newer file; the index of another version is made anew.
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER: usize = 64;
/// blob_at u64, stream_at u64, end of its window in the windows section u64, bits u8, zeros.
pub(super) const ROW: usize = 32;
pub(super) const DIGEST: usize = 32;
pub(super) const CHECKSUM: usize = 32;

/// The header's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) units: u32,
    pub(super) has_digests: bool,
    /// The blob is not compressed: spans are pieces of it.
    pub(super) plain: bool,
    /// Where the last span ends in the blob.
    pub(super) blob_end: u64,
    /// Where it ends in the decoded bytes.
    pub(super) stream_end: u64,
    /// Bytes of the windows section.
    pub(super) windows: u64,
}

/// Where the sections are.
#[derive(Clone, Debug)]
pub(super) struct Sections {
    pub(super) rows: Range<usize>,
    pub(super) digests: Range<usize>,
    pub(super) windows: Range<usize>,
    pub(super) checksum: Range<usize>,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.units.to_le_bytes());
        let flags = u32::from(self.has_digests) | u32::from(self.plain) << 1;
        put(16, &flags.to_le_bytes());
        put(24, &self.blob_end.to_le_bytes());
        put(32, &self.stream_end.to_le_bytes());
        put(40, &self.windows.to_le_bytes());
        bytes
    }

    /// Reads the header; its counts are not yet compared with the file.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SeekError> {
        let header = bytes.get(..HEADER).ok_or(SeekError::Truncated)?;
        if header[..8] != MAGIC {
            return Err(SeekError::NotAnIndex);
        }
        let version = u32_at(header, 8);
        if version != VERSION {
            return Err(SeekError::Version(version));
        }
        let (has_digests, plain) = match u32_at(header, 16) {
            flags @ 0..=3 => (flags & 1 != 0, flags & 2 != 0),
            _ => return Err(SeekError::Invalid("flags")),
        };
        Ok(Self {
            units: u32_at(header, 12),
            has_digests,
            plain,
            blob_end: u64_at(header, 24),
            stream_end: u64_at(header, 32),
            windows: u64_at(header, 40),
        })
    }
}

impl Sections {
    /// From the header's counts; nothing when the sum does not fit.
    pub(super) fn of(header: &Header) -> Option<Self> {
        let units = usize::try_from(header.units).ok()?;
        let mut end = HEADER;
        let mut section = |length: usize| {
            let start = end;
            end = start.checked_add(length)?;
            Some(start..end)
        };
        Some(Self {
            rows: section(units.checked_mul(ROW)?)?,
            digests: section(if header.has_digests { units.checked_mul(DIGEST)? } else { 0 })?,
            windows: section(usize::try_from(header.windows).ok()?)?,
            checksum: section(CHECKSUM)?,
        })
    }
}

/// A checkpoint's row, its window apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) blob_at: u64,
    pub(super) stream_at: u64,
    /// In the windows section; the window begins where the one before ends.
    pub(super) window_end: u64,
    pub(super) bits: u8,
}

impl Row {
    pub(super) fn encode(&self) -> [u8; ROW] {
        let mut bytes = [0; ROW];
        bytes[..8].copy_from_slice(&self.blob_at.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.stream_at.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.window_end.to_le_bytes());
        bytes[24] = self.bits;
        bytes
    }

    /// From the bytes of a row; zeros past the end.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        Self {
            blob_at: u64_at(bytes, 0),
            stream_at: u64_at(bytes, 8),
            window_end: u64_at(bytes, 16),
            bits: bytes.get(24).copied().unwrap_or_default(),
        }
    }

    /// The first byte of the blob with bits of the span.
    pub(super) fn blob_start(&self) -> u64 {
        self.blob_at.saturating_sub(u64::from(self.bits != 0))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |value| u32::from_le_bytes(*value))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |value| u64::from_le_bytes(*value))
}
