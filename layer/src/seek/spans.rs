//! Decoding from a checkpoint on (layer-formats.md, B.4 and C).

use super::SeekIndex;
use crate::UnitId;
use crate::inflate::InflateError;
use crate::inflate::sys::{Status, Stream};

/// Bytes behind the deflate stream of a gzip member: checksum and length (RFC 1952, 2.3.1).
const TRAILER: usize = 8;

/// Decodes a run of units from the bytes of the blob that hold them, front to back, as far as it is asked to. Nothing is
/// read past the bytes that it was given, and running out of them is an error, never a loop.
#[derive(Debug)]
pub struct Spans<'a> {
    input: &'a [u8],
    /// None where the blob is not compressed.
    stream: Option<Stream>,
    /// In the member that the first unit begins in, which is decoded without its header. Checksums are of whole
    /// members: of this one it cannot be checked.
    headless: bool,
}

impl<'a> Spans<'a> {
    /// Starts at a unit; `blob` begins where [`SeekIndex::blob_range`] of the unit does, and ends where that of this
    /// unit or a later one does.
    ///
    /// # Errors
    /// [`InflateError`]: the unit's window is damaged, there are no bytes, there is no memory.
    pub fn new<B: AsRef<[u8]>>(
        index: &SeekIndex<B>,
        first: UnitId,
        blob: &'a [u8],
    ) -> Result<Self, InflateError> {
        if index.is_plain() {
            return Ok(Self { input: blob, stream: None, headless: false });
        }
        let checkpoint = index.checkpoint(first)?;
        let mut stream = Stream::raw().ok_or(InflateError::NoMemory)?;
        let mut input = blob;
        if checkpoint.bits > 0 {
            let (&byte, rest) = blob.split_first().ok_or(InflateError::Truncated)?;
            if !stream.prime(checkpoint.bits, byte) {
                return Err(InflateError::Corrupt);
            }
            input = rest;
        }
        if !checkpoint.window.is_empty() && !stream.set_window(&checkpoint.window) {
            return Err(InflateError::Corrupt);
        }
        Ok(Self { input, stream: Some(stream), headless: true })
    }

    /// Decodes exactly `output.len()` bytes.
    ///
    /// # Errors
    /// [`InflateError`], not `TooShort`: where members end is no end here.
    pub fn fill(&mut self, output: &mut [u8]) -> Result<(), InflateError> {
        let Some(stream) = &mut self.stream else {
            let (now, rest) = self.input.split_at_checked(output.len()).ok_or(InflateError::Truncated)?;
            output.copy_from_slice(now);
            self.input = rest;
            return Ok(());
        };
        let mut filled = 0;
        while filled < output.len() {
            let step = stream.inflate(self.input, &mut output[filled..]);
            self.input = self.input.get(step.consumed..).unwrap_or_default();
            filled += step.produced;
            match step.status {
                Status::Corrupt => return Err(InflateError::Corrupt),
                Status::Ended if filled < output.len() => {
                    if std::mem::take(&mut self.headless) {
                        self.input = self.input.get(TRAILER..).ok_or(InflateError::Truncated)?;
                    }
                    if self.input.is_empty() {
                        return Err(InflateError::Truncated);
                    }
                    if !stream.restart_gzip() {
                        return Err(InflateError::NoMemory);
                    }
                }
                Status::Going if step.consumed + step.produced == 0 => return Err(InflateError::Truncated),
                _ => {}
            }
        }
        Ok(())
    }
}
