//! Decoding zstd frames, bounded by the caller: it says how many bytes it wants.
//!
//! The decoder keeps a window of what it has decoded, as large as the frame's header asks for. Pages of it that no
//! byte has reached cost nothing, and headers that ask for more than [`WINDOW_LOG_MAX`] are refused.

use std::fmt;
use std::io;

use zstd::stream::raw::{DParameter, Decoder, Operation as _};

/// Largest window, as a power of two: 128 MiB, what every zstd decoder accepts without being asked to (zstd's manual,
/// `ZSTD_WINDOWLOG_LIMIT_DEFAULT`), and as much as the largest level writes.
pub const WINDOW_LOG_MAX: u32 = 27;

/// Most bytes that zstd makes of one: a block of four bytes that repeats one byte 128 Ki times (RFC 8878, 3.1.1.2).
pub(crate) const EXPANSION_MAX: u64 = 32 << 10;

/// Why bytes cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZstdError {
    /// Not zstd, damaged, or with a window beyond [`WINDOW_LOG_MAX`]; the library says which.
    #[error("zstd data cannot be decoded: {0}")]
    Refused(String),
    /// Compressed bytes end in the middle of a frame.
    #[error("zstd data is cut short")]
    Truncated,
}

/// The frames in a slice, one after the other as one stream; skippable ones among them are skipped. Each frame's
/// checksum, where it has one, is checked when its end is read.
pub struct Frames<'a> {
    decoder: Decoder<'static>,
    input: &'a [u8],
    /// Between two frames, so that the input may end here.
    between: bool,
}

impl<'a> Frames<'a> {
    /// Frames that begin with the first byte of `input`.
    ///
    /// # Errors
    /// [`ZstdError::Refused`] when there is no memory for a decoder.
    pub fn new(input: &'a [u8]) -> Result<Self, ZstdError> {
        let mut decoder = Decoder::new().map_err(refused)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(refused)?;
        Ok(Self { decoder, input, between: true })
    }

    /// As [`Self::new`], with the same decoder.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn restart(&mut self, input: &'a [u8]) -> Result<(), ZstdError> {
        self.decoder.reinit().map_err(refused)?;
        (self.input, self.between) = (input, true);
        Ok(())
    }

    /// Decodes into `output` until it is full or the frames end; says how many bytes are new.
    ///
    /// # Errors
    /// [`ZstdError`].
    pub fn decode(&mut self, output: &mut [u8]) -> Result<usize, ZstdError> {
        let mut filled = 0;
        // An output that is full may still have an empty frame behind it: nobody asks for that.
        while filled < output.len() {
            if self.input.is_empty() && self.between {
                break;
            }
            let step = self.decoder.run_on_buffers(self.input, &mut output[filled..]).map_err(refused)?;
            self.input = self.input.get(step.bytes_read..).unwrap_or_default();
            filled += step.bytes_written;
            self.between = step.remaining == 0;
            if !self.between && step.bytes_read + step.bytes_written == 0 {
                return Err(ZstdError::Truncated);
            }
        }
        Ok(filled)
    }
}

impl io::Read for Frames<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        self.decode(output).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frames({} bytes left)", self.input.len())
    }
}

fn refused(error: impl fmt::Display) -> ZstdError {
    ZstdError::Refused(error.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 3).unwrap()
    }

    fn all(input: &[u8], length: usize) -> Result<Vec<u8>, ZstdError> {
        let mut output = vec![0; length];
        let filled = Frames::new(input)?.decode(&mut output)?;
        output.truncate(filled);
        Ok(output)
    }

    #[test]
    fn frames_are_one_stream() {
        let skippable = [&b"\x50\x2a\x4d\x18\x03\0\0\0"[..], b"abc"].concat();
        let input = [frame(b"one"), skippable.clone(), frame(b""), frame(b"two"), skippable].concat();
        for length in 0..=6 {
            assert_eq!(all(&input, length).unwrap(), b"onetwo"[..length]);
        }
        assert_eq!(all(&input, 100).unwrap(), b"onetwo");
        let mut frames = Frames::new(&input).unwrap();
        let mut read = Vec::new();
        io::Read::read_to_end(&mut frames, &mut read).unwrap();
        frames.restart(&input).unwrap();
        io::Read::read_to_end(&mut frames, &mut read).unwrap();
        assert_eq!(read, b"onetwoonetwo");
    }

    #[test]
    fn damage() {
        let input = frame(&[7; 100_000]);
        for cut in 1..input.len() {
            assert_eq!(all(&input[..cut], 100_001), Err(ZstdError::Truncated), "{cut}");
        }
        assert_eq!(all(b"", 1), Ok(Vec::new()));
        assert!(matches!(all(b"not zstd", 1), Err(ZstdError::Refused(_))));
    }

    #[test]
    fn windows_have_a_limit() {
        // A frame header that asks for a window of 2^28 bytes (RFC 8878, 3.1.1.1.2), and an empty last block.
        let asks = |exponent: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 1, 0, 0];
        assert_eq!(all(&asks(27 - 10), 1), Ok(Vec::new()));
        assert!(matches!(all(&asks(28 - 10), 1), Err(ZstdError::Refused(_))));
    }
}
