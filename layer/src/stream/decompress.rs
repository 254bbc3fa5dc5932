//! From the bytes of a blob to those of its tar.

use super::compression::{Compression, MAGIC};
use super::gzip::Gzip;
use super::units::Units;
use super::zstd::Zstd;
use super::{CHUNK, StreamError};
use crate::BlobOffset;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Bytes of the output that are new. What the output had behind them may have been overwritten.
    pub produced: usize,
}

/// Decodes a blob of whatever compression, and notes on the way where it can be decoded from later.
#[derive(Debug)]
pub struct Decompressor(State);

#[derive(Debug)]
enum State {
    /// The first bytes, until there are enough of them to tell.
    Detecting(Vec<u8>),
    /// The first bytes are to be decoded before the input.
    Starting {
        start: Vec<u8>,
        decoder: Decoder,
    },
    Decoding(Decoder),
}

#[derive(Debug)]
enum Decoder {
    Gzip(Box<Gzip>),
    Zstd(Box<Zstd>),
    Plain(Units),
}

impl Decompressor {
    /// For a blob whose media type announces `compression`.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self(match compression {
            Compression::None => State::Decoding(Decoder::Plain(Units::new(Compression::None))),
            _ => State::Detecting(Vec::with_capacity(MAGIC)),
        })
    }

    /// Decodes from `input` to `output` as far as either goes. All input is decoded when it was consumed and the
    /// output was not filled.
    ///
    /// # Errors
    /// [`StreamError`]; what was produced before the damage may be missing. The decompressor is of no use then.
    pub fn step(&mut self, mut input: &[u8], output: &mut [u8]) -> Result<Step, StreamError> {
        let mut done = Step::default();
        if let State::Detecting(start) = &mut self.0 {
            let (head, rest) = input.split_at(input.len().min(MAGIC - start.len()));
            start.extend_from_slice(head);
            done.consumed = head.len();
            input = rest;
            if start.len() < MAGIC {
                return Ok(done);
            }
            let decoder = Decoder::new(Compression::detect(start))?;
            self.0 = State::Starting { start: std::mem::take(start), decoder };
        }
        if let State::Starting { start, decoder } = &mut self.0 {
            while !start.is_empty() {
                let step = decoder.step(start, &mut output[done.produced..])?;
                start.drain(..step.consumed);
                done.produced += step.produced;
                if step.consumed == 0 {
                    return Ok(done);
                }
            }
        }
        let step = match &mut self.0 {
            State::Detecting(_) => Step::default(),
            State::Starting { decoder, .. } | State::Decoding(decoder) => {
                decoder.step(input, &mut output[done.produced..])?
            }
        };
        done.consumed += step.consumed;
        done.produced += step.produced;
        Ok(done)
    }

    /// What was noted, once the blob has ended and every byte of it was consumed.
    ///
    /// # Errors
    /// [`StreamError::Truncated`] if it cannot end here.
    pub fn finish(self) -> Result<Units, StreamError> {
        match self.0 {
            // containerd takes a blob without bytes for a tar without entries.
            State::Detecting(start) if start.is_empty() => Ok(Units::new(Compression::None)),
            State::Detecting(start) => {
                Err(StreamError::Truncated { format: "compressed", at: BlobOffset(start.len() as u64) })
            }
            State::Starting { decoder, .. } | State::Decoding(decoder) => decoder.finish(),
        }
    }
}

impl Decoder {
    fn new(compression: Compression) -> Result<Self, StreamError> {
        Ok(match compression {
            Compression::Gzip => Self::Gzip(Box::new(Gzip::new()?)),
            Compression::Zstd => Self::Zstd(Box::new(Zstd::new()?)),
            Compression::Unknown | Compression::None => Self::Plain(Units::new(Compression::None)),
        })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, StreamError> {
        match self {
            Self::Gzip(gzip) => gzip.step(input, output),
            Self::Zstd(zstd) => zstd.step(input, output),
            Self::Plain(units) => Ok(copy(units, input, output)),
        }
    }

    fn finish(self) -> Result<Units, StreamError> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
            Self::Plain(units) => Ok(units),
        }
    }
}

/// A plain tar: its units are as large as the largest chunk.
fn copy(units: &mut Units, input: &[u8], output: &mut [u8]) -> Step {
    let length = input.len().min(output.len());
    output[..length].copy_from_slice(&input[..length]);
    let end = units.stream_size + length as u64;
    while units.count() as u64 * CHUNK < end {
        let start = units.count() as u64 * CHUNK;
        units.start(BlobOffset(start), start);
    }
    (units.blob_size, units.stream_size) = (end, end);
    Step { consumed: length, produced: length }
}
