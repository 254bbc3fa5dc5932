//! gzip: any number of members, with any header.
//!
//! Go's reader, which containerd uses, takes members until the input ends; zeros or anything else behind the last one
//! are an error there, and here. Checksums, lengths and header checksums are checked by zlib.
//!
//! A checkpoint is taken where a deflate block begins and enough was decoded since the last. At the start of a
//! member nothing came before, so a checkpoint there costs no window, and half of the distance is enough. An encoder may
//! make blocks of any size: then units are as large as they are, and nothing is held for them here.

use super::units::{SPACING, Units};
use super::{Compression, Step, StreamError};
use crate::BlobOffset;
use crate::inflate::sys::{Status, Stream};
use crate::seek::Checkpoint;

const FORMAT: &str = "gzip";
/// First byte of a member (RFC 1952, 2.3.1).
const ID1: u8 = 0x1f;

#[derive(Debug)]
pub(super) struct Gzip {
    stream: Stream,
    units: Units,
    at: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first member, or behind one.
    Between,
    /// In a member which began at this decoded byte.
    Member(u64),
}

impl Gzip {
    pub(super) fn new() -> Result<Self, StreamError> {
        Ok(Self {
            stream: Stream::gzip().ok_or(StreamError::Decoder(FORMAT))?,
            units: Units::new(Compression::Gzip),
            at: Place::Between,
        })
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, StreamError> {
        let mut done = Step::default();
        loop {
            let (input, output) = (&input[done.consumed..], &mut output[done.produced..]);
            if self.at == Place::Between {
                let Some(&first) = input.first() else { return Ok(done) };
                self.begin_member(first)?;
            }
            let step = self.stream.inflate_block(input, output);
            done.consumed += step.consumed;
            done.produced += step.produced;
            self.units.blob_size += step.consumed as u64;
            self.units.stream_size += step.produced as u64;
            match step.status {
                Status::Corrupt => {
                    let reason = "not gzip, or its checksum is wrong".to_owned();
                    return Err(StreamError::Corrupt { format: FORMAT, at: self.place(), reason });
                }
                Status::Ended => self.at = Place::Between,
                Status::Going => match step.block {
                    Some(bits) => self.block(bits),
                    None if step.consumed == 0 && step.produced == 0 => return Ok(done),
                    None => {}
                },
            }
        }
    }

    pub(super) fn finish(self) -> Result<Units, StreamError> {
        if self.at != Place::Between {
            return Err(StreamError::Truncated { format: FORMAT, at: self.place() });
        }
        Ok(self.units)
    }

    fn place(&self) -> BlobOffset {
        BlobOffset(self.units.blob_size)
    }

    fn begin_member(&mut self, first: u8) -> Result<(), StreamError> {
        if self.units.blob_size > 0 {
            if first != ID1 {
                return Err(StreamError::Garbage { format: FORMAT, at: self.place() });
            }
            if !self.stream.restart_gzip() {
                return Err(StreamError::Decoder(FORMAT));
            }
        }
        self.at = Place::Member(self.units.stream_size);
        Ok(())
    }

    /// A deflate block begins here.
    fn block(&mut self, bits: u8) {
        let stream = self.units.stream_size;
        let at_start = self.at == Place::Member(stream);
        let since = self.units.since_last(stream);
        if since.is_some_and(|since| since < if at_start { SPACING / 2 } else { SPACING }) {
            return;
        }
        let window = if at_start { Vec::new() } else { self.stream.window() };
        let blob_at = self.place();
        self.units.checkpoint(&Checkpoint { blob_at, bits, stream_at: stream, window });
    }
}
