//! zstd: any number of frames, with or without their size, and skippable ones, to the end of the blob.
//!
//! A frame can be decoded on its own, so units begin where frames do. Small ones are taken together: what names a unit
//! must not cost more than the unit.

use ::zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::units::Units;
use super::{CHUNK, Compression, Step, StreamError};
use crate::BlobOffset;
use crate::frames::WINDOW_LOG_MAX;

const FORMAT: &str = "zstd";

pub(super) struct Zstd {
    decoder: Decoder<'static>,
    units: Units,
    /// Bytes of the frame that were consumed; 0 between frames.
    frame: u64,
    /// The last output was filled: the decoder may hold more.
    was_full: bool,
}

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zstd").field("units", &self.units).finish_non_exhaustive()
    }
}

impl Zstd {
    pub(super) fn new() -> Result<Self, StreamError> {
        let mut decoder = Decoder::new().map_err(|_| StreamError::Decoder(FORMAT))?;
        decoder
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(|_| StreamError::Decoder(FORMAT))?;
        Ok(Self { decoder, units: Units::new(Compression::Zstd), frame: 0, was_full: false })
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, StreamError> {
        let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(output));
        // libzstd takes calls that cannot do anything for an endless loop, and fails after some.
        while output.pos() < output.capacity() && (input.pos() < input.src.len() || self.was_full) {
            let before = (input.pos(), output.pos());
            if self.frame == 0 {
                self.begin_frame();
            }
            let left = self.decoder.run(&mut input, &mut output);
            let (consumed, produced) = (input.pos() - before.0, output.pos() - before.1);
            self.units.blob_size += consumed as u64;
            self.units.stream_size += produced as u64;
            self.frame += consumed as u64;
            self.was_full = output.pos() == output.capacity();
            if left.map_err(|error| self.error(&error))? == 0 {
                (self.frame, self.was_full) = (0, false);
            }
        }
        Ok(Step { consumed: input.pos(), produced: output.pos() })
    }

    pub(super) fn finish(self) -> Result<Units, StreamError> {
        if self.frame > 0 {
            return Err(StreamError::Truncated { format: FORMAT, at: BlobOffset(self.units.blob_size) });
        }
        Ok(self.units)
    }

    fn begin_frame(&mut self) {
        let (blob, stream) = (BlobOffset(self.units.blob_size), self.units.stream_size);
        if self.units.since_last(stream).is_none_or(|since| since >= CHUNK) {
            self.units.start(blob, stream);
        }
    }

    fn error(&self, error: &std::io::Error) -> StreamError {
        /// What libzstd says of a frame that does not begin with a magic number.
        const NO_FRAME: &str = "Unknown frame descriptor";
        let (at, reason) = (BlobOffset(self.units.blob_size), error.to_string());
        if self.units.blob_size > self.frame && reason == NO_FRAME {
            let at = BlobOffset(self.units.blob_size - self.frame);
            return StreamError::Garbage { format: FORMAT, at };
        }
        StreamError::Corrupt { format: FORMAT, at, reason }
    }
}
