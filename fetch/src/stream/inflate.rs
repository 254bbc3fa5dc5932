//! The second thread: from the blob file to buffers of the tar.

use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use peel_cache::CacheError;
use peel_layer::stream::{Compression, Decompressor, Units};

use super::{
    StreamFailure,
    guard::{Guard, PIECE},
    pipe,
    pipe::Pipe,
};

/// Bytes of a buffer of the tar. Large enough that handing one over (some microseconds) does not count, small enough
/// that it is still in the core's shared cache when the next thread hashes it.
const OUTPUT: usize = 512 << 10;
const _: () = assert!(OUTPUT.is_multiple_of(PIECE), "a piece is in one buffer");
/// Buffers on their way: 2 MiB a layer. They even out how long the steps take for different kinds of content.
const BUFFERS: usize = 4;

/// This thread's side of the buffers between it and the next.
pub(super) struct Buffers {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

/// The next thread's side.
pub(super) struct Tar {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
}

/// Both sides.
pub(super) fn buffers() -> (Buffers, Tar) {
    let (full, filled) = mpsc::sync_channel(BUFFERS);
    let (empty, emptied) = mpsc::channel();
    for _ in 0..BUFFERS {
        let _ = empty.send(Vec::new());
    }
    (Buffers { full, empty: emptied }, Tar { full: filled, empty })
}

impl Tar {
    /// Gives the tar to `each`, piece by piece. Says whether it came to its end: not when the thread before went away.
    pub(super) fn each(
        &self,
        guard: &Guard,
        mut each: impl FnMut(&[u8]) -> Result<(), StreamFailure>,
    ) -> Result<bool, StreamFailure> {
        let mut at = 0;
        while let Ok(buffer) = self.full.recv() {
            if buffer.is_empty() {
                return Ok(true);
            }
            for piece in buffer.chunks(PIECE) {
                let _mark = guard.reading_tar(at)?;
                each(piece)?;
                at += piece.len() as u64;
            }
            // Nobody wants it back at the end.
            let _ = self.empty.send(buffer);
        }
        Ok(false)
    }
}

/// Decodes all `size` bytes of the blob. Nothing when the work was ended by somebody else.
pub(super) fn inflate(
    pipe: &Pipe,
    guard: &Guard,
    (size, compression): (u64, Compression),
    buffers: Buffers,
) -> Result<Option<Units>, StreamFailure> {
    let mut decompressor = Decompressor::new(compression);
    let (mut at, mut input) = (0, vec![0; PIECE]);
    let mut output = Output { buffers, buffer: Vec::new(), filled: 0 };
    while at < size {
        // Up to the border of a piece, however little came.
        let room = PIECE - usize::try_from(at % PIECE as u64).unwrap_or(0);
        let Some(length) = pipe.read(at, &mut input[..room]).map_err(|error| StreamFailure::local(&error))?
        else {
            return Ok(None);
        };
        if length == 0 {
            let path = "the layer's blob".into();
            return Err(StreamFailure::local(&CacheError::Io { path, source: pipe::vanished() }));
        }
        let mut rest = &input[..length];
        loop {
            let Some(room) = output.room() else { return Ok(None) };
            let mark = guard.inflating(at)?;
            let (offered, step) = (room.len(), decompressor.step(rest, room));
            // Who waits for the next thread is not being executed.
            drop(mark);
            let step = step.map_err(|error| StreamFailure::content(&error))?;
            rest = &rest[step.consumed..];
            output.filled += step.produced;
            if rest.is_empty() && step.produced < offered {
                break;
            }
        }
        at += length as u64;
    }
    let units = decompressor.finish().map_err(|error| StreamFailure::content(&error))?;
    Ok((output.flush() && output.end()).then_some(units))
}

/// The buffer that is being filled.
struct Output {
    buffers: Buffers,
    buffer: Vec<u8>,
    filled: usize,
}

impl Output {
    /// What is free of the buffer, never empty; nothing when nobody takes buffers any more.
    fn room(&mut self) -> Option<&mut [u8]> {
        if self.filled == self.buffer.len() {
            if !self.flush() {
                return None;
            }
            self.buffer = self.buffers.empty.recv().ok()?;
            self.buffer.resize(OUTPUT, 0);
        }
        self.buffer.get_mut(self.filled..)
    }

    /// Says that the tar ends here: an empty buffer. Without it the next thread knows that this one went away.
    fn end(&self) -> bool {
        self.buffers.full.send(Vec::new()).is_ok()
    }

    /// Hands over what is filled; says whether somebody took it.
    fn flush(&mut self) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.truncate(std::mem::take(&mut self.filled));
        buffer.is_empty() || self.buffers.full.send(buffer).is_ok()
    }
}
