//! A buffered output that knows its position, and seals the superblock once block 0 is complete.

use std::io::{self, Write};

use crate::format::{BLOCK, BLOCK_LEN, SUPERBLOCK_OFFSET, checksum};

/// Bytes gathered before they go out: some system calls per megabyte, and more than the first block.
const BUFFER: usize = 64 * 1024;

pub(super) struct Sink<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    /// Bytes that went out.
    written: u64,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, buffer: Vec::with_capacity(BUFFER + BLOCK_LEN), written: 0 }
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Zeros up to `offset`, which is at most a block away.
    pub(super) fn pad_to(&mut self, offset: u64) -> io::Result<()> {
        const ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
        let missing = offset.checked_sub(self.position()).and_then(|it| usize::try_from(it).ok());
        // What was written and what was planned would differ: an image that must not be used.
        let zeros = missing.and_then(|it| ZEROS.get(..it)).ok_or_else(|| {
            io::Error::other(format!("image is at byte {}, planned was {offset}", self.position()))
        })?;
        self.write(zeros)
    }

    /// Zeros up to the end of the block.
    pub(super) fn pad_to_block(&mut self) -> io::Result<()> {
        self.pad_to(self.position().next_multiple_of(BLOCK))
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.pad_to_block()?;
        self.flush()?;
        self.out.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.written == 0
            && let Some(block) = self.buffer.first_chunk_mut::<BLOCK_LEN>()
        {
            let sum = checksum(block).to_le_bytes();
            block[SUPERBLOCK_OFFSET + 4..SUPERBLOCK_OFFSET + 8].copy_from_slice(&sum);
        }
        self.out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
