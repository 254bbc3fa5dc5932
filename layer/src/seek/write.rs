//! Collecting checkpoints and writing them.

use std::io::{self, Write as _};

use super::layout::{Header, Row};
use super::{Checkpoint, WINDOW_MAX};
use crate::BlobOffset;
use crate::index::HashingWriter;

/// zstd's level for windows. Of a layer of Python packages in pieces of 32 KiB (`zstd -b -B32K`): level 1 leaves 36 % at
/// 290 MB/s, 3 leaves 35 % at 220 MB/s, 6 leaves 33 % at 66 MB/s, 19 leaves 31 % at 2 MB/s.
const LEVEL: i32 = 3;

/// Collects the checkpoints of a layer, in order. They are held in memory, windows compressed: some 10 KiB each.
#[derive(Default)]
pub struct SeekBuilder {
    rows: Vec<Row>,
    digests: Vec<[u8; 32]>,
    windows: Vec<u8>,
    plain: bool,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for SeekBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SeekBuilder({} checkpoints, {} bytes of windows)", self.rows.len(), self.windows.len())
    }
}

/// Where the last span ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeekEnd {
    /// In the blob.
    pub blob: BlobOffset,
    /// In the decoded bytes.
    pub stream: u64,
}

impl SeekBuilder {
    /// Of a blob that is not compressed: checkpoints have neither bits nor windows, and the same place in both spaces.
    #[must_use]
    pub fn plain() -> Self {
        Self { plain: true, ..Self::default() }
    }

    /// Adds the next checkpoint, with the sha256 of the bytes of its span in the blob where chunks have no digests:
    /// all have one, or none. What [`super::SeekIndex::parse`] would refuse is not refused here.
    pub fn push(&mut self, checkpoint: &Checkpoint, span_digest: Option<[u8; 32]>) {
        let start = checkpoint.window.len().saturating_sub(WINDOW_MAX);
        let window = &checkpoint.window[start..];
        if !window.is_empty() {
            self.add_window(window);
        }
        self.rows.push(Row {
            blob_at: checkpoint.blob_at.0,
            stream_at: checkpoint.stream_at,
            window_end: self.windows.len() as u64,
            bits: checkpoint.bits,
        });
        self.digests.extend(span_digest);
    }

    /// Number of checkpoints so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Writes the index.
    ///
    /// # Errors
    /// What `out` says; 2^32 checkpoints; some spans with a digest and some without.
    pub fn write(self, end: SeekEnd, out: &mut dyn io::Write) -> io::Result<()> {
        let count = self.rows.len();
        if !self.digests.is_empty() && self.digests.len() != count {
            return Err(io::Error::other("some spans have a digest and some have none"));
        }
        let header = Header {
            units: u32::try_from(count).map_err(|_| io::Error::other("too many checkpoints"))?,
            has_digests: !self.digests.is_empty(),
            plain: self.plain,
            blob_end: end.blob.0,
            stream_end: end.stream,
            windows: self.windows.len() as u64,
        };
        let mut out = HashingWriter::new(io::BufWriter::with_capacity(1 << 16, out));
        out.write_all(&header.encode())?;
        for row in &self.rows {
            out.write_all(&row.encode())?;
        }
        for digest in &self.digests {
            out.write_all(digest)?;
        }
        out.write_all(&self.windows)?;
        let (checksum, mut out) = out.finish();
        out.write_all(&checksum)?;
        out.flush()
    }

    fn add_window(&mut self, window: &[u8]) {
        if self.compressor.is_none() {
            self.compressor = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        let compressed = self.compressor.as_mut().and_then(|it| it.compress(window).ok());
        // zstd only fails for want of memory. The span is then not decodable on its own, and says so.
        self.windows.extend_from_slice(&compressed.unwrap_or_default());
    }
}
