//! The blob on its way from the download to the inflater: a file, and how much of it is there.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt as _};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use peel_cache::{CacheError, StagedBlob};

use super::StreamFailure;

/// What one thread tells the others. Also the sign for all of them to stop.
#[derive(Debug)]
pub(super) struct Pipe {
    blob: Blob,
    state: Mutex<State>,
    changed: Condvar,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Blob {
    /// In the layer's staging folder, growing.
    Staged(StagedBlob),
    /// In a file of somebody else's, complete.
    File(File),
    /// Nowhere: what was read is gone. For layers of which only some chunks are wanted.
    Passing(Mutex<VecDeque<Bytes>>),
}

/// Bytes that a download may be ahead where there is no file.
const AHEAD: u64 = 4 << 20;

impl Blob {
    /// [`Blob::Passing`], empty.
    pub(super) fn passing() -> Self {
        Self::Passing(Mutex::default())
    }
}

#[derive(Debug, Default)]
struct State {
    available: u64,
    /// Read so far, where there is no file.
    read: u64,
    closed: bool,
    /// What failed first: what fails later is its consequence.
    failure: Option<StreamFailure>,
    /// Who gave bytes, each once in a row.
    givers: Vec<String>,
}

impl Pipe {
    /// With `available` bytes in `blob`, which `giver` gave.
    pub(super) fn new(blob: Blob, available: u64, giver: Option<String>) -> Self {
        let state = State { available, givers: giver.into_iter().collect(), ..State::default() };
        Self { blob, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds the next bytes.
    pub(super) fn append(&self, at: u64, bytes: &Bytes, giver: &str) -> Result<(), CacheError> {
        match &self.blob {
            Blob::Staged(blob) => blob.append(at, bytes)?,
            Blob::File(_) => {}
            Blob::Passing(queue) => {
                let mut state = self.state.lock();
                // Bounded by the reader's work, which is not the network's.
                while at.saturating_sub(state.read) > AHEAD && !state.closed {
                    self.changed.wait(&mut state);
                }
                queue.lock().push_back(bytes.clone());
            }
        }
        {
            let mut state = self.state.lock();
            state.available = at + bytes.len() as u64;
            if state.givers.last().is_none_or(|last| last != giver) {
                state.givers.push(giver.to_owned());
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until there are bytes at `at`, and reads as many as are there and fit. Nothing when the pipe was closed.
    /// The wait is bounded by the download's patience, which ends with closing.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> Result<Option<usize>, CacheError> {
        let available = {
            let mut state = self.state.lock();
            while state.available <= at && !state.closed {
                self.changed.wait(&mut state);
            }
            if state.closed {
                return Ok(None);
            }
            state.available - at
        };
        let length = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        self.read_now(at, &mut buffer[..length]).map(Some)
    }

    /// Bytes that are there already.
    pub(super) fn read_now(&self, at: u64, buffer: &mut [u8]) -> Result<usize, CacheError> {
        match &self.blob {
            Blob::Staged(blob) => blob.read(at, buffer),
            Blob::File(file) => {
                let path = "the blob in containerd's content store".into();
                file.read_at(buffer, at).map_err(|source| CacheError::Io { path, source })
            }
            Blob::Passing(queue) => {
                let mut queue = queue.lock();
                let Some(mut bytes) = queue.pop_front() else { return Ok(0) };
                let length = bytes.len().min(buffer.len());
                buffer[..length].copy_from_slice(&bytes.split_to(length));
                if !bytes.is_empty() {
                    queue.push_front(bytes);
                }
                drop(queue);
                self.state.lock().read = at + length as u64;
                self.changed.notify_all();
                Ok(length)
            }
        }
    }

    /// How much is there.
    pub(super) fn available(&self) -> u64 {
        self.state.lock().available
    }

    /// Who gave all bytes of this attempt, if it was one source.
    pub(super) fn only_giver(&self) -> Option<String> {
        let state = self.state.lock();
        if let [giver] = &state.givers[..] { Some(giver.clone()) } else { None }
    }

    /// As [`Self::close`], and why.
    pub(super) fn fail(&self, failure: StreamFailure) {
        self.state.lock().failure.get_or_insert(failure);
        self.close();
    }

    /// What failed first.
    pub(super) fn failure(&self) -> Option<StreamFailure> {
        self.state.lock().failure.clone()
    }

    /// Nobody is to wait or work any more.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether work is to end.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}

/// The file was cut while it was read.
pub(super) fn vanished() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read")
}
