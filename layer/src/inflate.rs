//! Inflating gzip members, bounded by the caller: it says how many bytes it wants.
//!
//! libz-rs-sys is zlib's interface over a decoder in Rust. It is used rather than a more comfortable crate because
//! seekable gzip needs its `inflatePrime` and `inflateSetDictionary` (layer-formats.md, B.4); what is unsafe about
//! it stays in `sys`.

pub(crate) mod sys;

use std::io;

use sys::{Status, Stream};

/// Most bytes that deflate makes of one (zlib's technical details: the limit is 1032:1).
pub(crate) const EXPANSION_MAX: u64 = 1032;

/// Why bytes cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Not gzip, or damaged.
    #[error("gzip data is damaged")]
    Corrupt,
    /// Compressed bytes end in the middle of the member.
    #[error("gzip data is cut short")]
    Truncated,
    /// The member ends before the bytes that were asked for.
    #[error("gzip member holds fewer bytes than expected")]
    TooShort,
    /// The decoder could not be set up.
    #[error("no memory for the gzip decoder")]
    NoMemory,
}

/// One gzip member at the start of a slice, whatever its header carries (name, comment, extra fields). What follows
/// the member is not looked at. Checksum and length are checked when the end of the member is read.
#[derive(Debug)]
pub struct Member<'a> {
    input: &'a [u8],
    stream: Option<Stream>,
    ended: bool,
}

impl<'a> Member<'a> {
    /// A member that begins with the first byte of `input`.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, stream: None, ended: false }
    }

    /// Inflates into `output` until it is full or the member ends; says how many bytes are new.
    ///
    /// # Errors
    /// [`InflateError`], not `TooShort`.
    pub fn inflate(&mut self, output: &mut [u8]) -> Result<usize, InflateError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(Stream::gzip().ok_or(InflateError::NoMemory)?),
        };
        let mut filled = 0;
        while filled < output.len() && !self.ended {
            let step = stream.inflate(self.input, &mut output[filled..]);
            self.input = self.input.get(step.consumed..).unwrap_or_default();
            filled += step.produced;
            match step.status {
                Status::Going if step.consumed + step.produced == 0 => return Err(InflateError::Truncated),
                Status::Going => {}
                Status::Ended => self.ended = true,
                Status::Corrupt => return Err(InflateError::Corrupt),
            }
        }
        Ok(filled.min(output.len()))
    }

    /// Inflates exactly `output.len()` bytes.
    ///
    /// # Errors
    /// [`InflateError`].
    pub fn fill(&mut self, output: &mut [u8]) -> Result<(), InflateError> {
        match self.inflate(output)? {
            filled if filled == output.len() => Ok(()),
            _ => Err(InflateError::TooShort),
        }
    }

    /// Inflates `count` bytes and forgets them.
    ///
    /// # Errors
    /// [`InflateError`].
    pub fn skip(&mut self, mut count: u64) -> Result<(), InflateError> {
        if count == 0 {
            return Ok(());
        }
        let mut scratch = vec![0; 32 << 10];
        while count > 0 {
            let now = usize::try_from(count).unwrap_or(usize::MAX).min(scratch.len());
            self.fill(&mut scratch[..now])?;
            count -= now as u64;
        }
        Ok(())
    }
}

impl io::Read for Member<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        self.inflate(output).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests;
