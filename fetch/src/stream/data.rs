//! The third thread: from buffers of the tar to the data file.

use std::io;

use peel_cache::DataWriter;
use peel_layer::{
    DataOffset, DiffId,
    stream::{DataSink, StreamError, TarIndexed, TarIndexer},
};
use sha2::{Digest as _, Sha256};

use super::{StreamFailure, StreamProgress, guard::Guard, inflate::Tar, limits, pipe::Pipe};

/// Bytes that are written at a time: the files of a layer have a few KiB each, and a system call costs as much as
/// copying 16 KiB.
const GATHER: usize = 256 << 10;

/// Indexes and stores what comes, to the end of the tar. Nothing when the work was ended by somebody else.
pub(super) fn store(
    pipe: &Pipe,
    guard: &Guard,
    tar: &Tar,
    data: DataWriter,
    progress: &StreamProgress,
) -> Result<Option<(TarIndexed, DiffId)>, StreamFailure> {
    let (mut indexer, mut hash) = (TarIndexer::new(&limits()), Sha256::new());
    let mut file = Gather { data, start: 0, bytes: Vec::with_capacity(GATHER) };
    let whole = tar.each(guard, |bytes| {
        hash.update(bytes);
        indexer.push(bytes, &mut file).map_err(|error| failure(&error))?;
        progress.store(bytes.len() as u64);
        Ok(())
    })?;
    if !whole || pipe.is_closed() {
        return Ok(None);
    }
    let indexed = indexer.finish().map_err(|error| failure(&error))?;
    file.flush().map_err(|error| StreamFailure::sink(&error))?;
    Ok(Some((indexed, DiffId::from_bytes(hash.finalize().into()))))
}

pub(super) fn failure(error: &StreamError) -> StreamFailure {
    match error {
        StreamError::Sink(error) => StreamFailure::sink(error),
        _ => StreamFailure::content(error),
    }
}

/// Writes that are near each other, as one.
struct Gather {
    data: DataWriter,
    start: u64,
    bytes: Vec<u8>,
}

impl Gather {
    fn flush(&mut self) -> io::Result<()> {
        self.data.write(DataOffset(self.start), &self.bytes).map_err(io::Error::other)?;
        self.bytes.clear();
        Ok(())
    }
}

impl DataSink for Gather {
    fn write(&mut self, at: DataOffset, bytes: &[u8]) -> io::Result<()> {
        let end = self.start + self.bytes.len() as u64;
        let gap = usize::try_from(at.0.saturating_sub(end)).unwrap_or(usize::MAX);
        // The gap is padding up to the next block, or a hole, which stays one.
        if at.0 < end || gap >= 4096 || self.bytes.len() + gap + bytes.len() > GATHER {
            self.flush()?;
            self.start = at.0;
        } else {
            self.bytes.resize(self.bytes.len() + gap, 0);
        }
        if bytes.len() >= GATHER {
            self.start = at.0 + bytes.len() as u64;
            return self.data.write(at, bytes).map_err(io::Error::other);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
