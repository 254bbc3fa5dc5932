//! What one set of files has.

use std::{io, num::NonZeroU64, os::unix::fs::MetadataExt as _, sync::atomic::Ordering};

use peel_layer::ChunkDigest;

use super::{
    ChunkFiles,
    map::{AtomicBits, Identity, LearnedDigests, LiveMap},
    pins::Pins,
    sync::{self, Mutex, RwLock},
};

impl ChunkFiles {
    pub(super) fn new(
        data: std::fs::File,
        (map, learned): (LiveMap, Option<LearnedDigests>),
        identity: Identity,
    ) -> Self {
        Self {
            data,
            map,
            learned,
            identity,
            pins: Pins::default(),
            unsynced: false.into(),
            durable: Mutex::default(),
            admitting: RwLock::default(),
        }
    }

    pub(super) fn is_linked(&self) -> io::Result<bool> {
        Ok(self.data.metadata()?.nlink() > 0)
    }

    /// The chunk's bytes can be read. Take a pin first.
    pub(crate) fn has(&self, id: u32) -> bool {
        self.map.bits().get(id)
    }

    /// The digest that was learned of a chunk, where the index has none.
    pub(crate) fn learned(&self, id: u32) -> Option<ChunkDigest> {
        self.learned.as_ref()?.get(id).ok().flatten()
    }

    /// The next sync writes the durable map.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::SeqCst)
    }

    /// Lets the page cache forget `length` bytes from `at`, so that the next read is of the disk. What is not
    /// written back yet stays.
    pub(crate) fn forget_pages(&self, at: u64, length: NonZeroU64) {
        let _ = rustix::fs::fadvise(&self.data, at, Some(length), rustix::fs::Advice::DontNeed);
    }

    pub(crate) fn bits(&self) -> &AtomicBits {
        self.map.bits()
    }

    /// Bytes of the data file into fresh anonymous memory; shorter than `length` only if somebody cut the file.
    pub(crate) fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        sync::slow();
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = at + bytes.len() as u64;
            let spare = rustix::buffer::spare_capacity(&mut bytes);
            match rustix::io::pread(&self.data, spare, at) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Blocks that the data file takes, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.data.metadata().map_or(0, |data| data.blocks() * 512)
    }
}
