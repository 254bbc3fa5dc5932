//! The live map: bits in memory, and the file that follows them word by word.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use super::{
    AtomicBits, Identity,
    format::{self, HEADER_BYTES},
    sync::Mutex,
};
use crate::{BootId, disk};

/// Bits and file. The bit in memory is the one that counts; the file is for the next process.
#[derive(Debug)]
pub(crate) struct LiveMap {
    bits: AtomicBits,
    /// Locked while a word is written, so that an older value never lands on a newer one.
    file: Mutex<File>,
}

impl LiveMap {
    /// A map with no chunk in it, at `path`. All of the file is written: setting a bit later takes no space.
    pub(crate) fn create(path: &Path, identity: &Identity, boot: BootId) -> io::Result<Self> {
        Self::create_with(path, identity, boot, AtomicBits::new(identity.chunks, []))
    }

    /// A map that begins with `bits`.
    pub(crate) fn create_with(
        path: &Path,
        identity: &Identity,
        boot: BootId,
        bits: AtomicBits,
    ) -> io::Result<Self> {
        let file = disk::replace(path, &format::encode_live(identity, boot, &bits), false)?;
        Ok(Self { bits, file: Mutex::new(file) })
    }

    /// The map at `path`, if it is of this file and this boot.
    pub(crate) fn open(path: &Path, identity: &Identity, boot: BootId) -> io::Result<Option<Self>> {
        let file = File::options().read(true).write(true).open(path)?;
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len().min(MAP_BYTES_MAX)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        let bits = format::decode_live(identity, boot, &bytes);
        Ok(bits.map(|bits| Self { bits, file: Mutex::new(file) }))
    }

    /// The bits.
    pub(crate) fn bits(&self) -> &AtomicBits {
        &self.bits
    }

    /// The chunk's bytes are in the data file.
    pub(crate) fn set(&self, id: u32) -> io::Result<()> {
        if self.bits.set(id) { self.write_word(id) } else { Ok(()) }
    }

    /// The chunk is not to be read any more.
    pub(crate) fn clear(&self, id: u32) -> io::Result<()> {
        if self.bits.clear(id) { self.write_word(id) } else { Ok(()) }
    }

    /// The chunks are not to be read any more. One write, however many they are. Says whether one was there.
    pub(crate) fn clear_all(&self, ids: &[u32]) -> io::Result<bool> {
        let cleared = ids.iter().filter(|id| self.bits.clear(**id)).count();
        if cleared > 0 {
            self.write_all(&self.file.lock())?;
        }
        Ok(cleared > 0)
    }

    /// Keeps only what `other` has too.
    pub(crate) fn intersect(&self, other: &AtomicBits) -> io::Result<()> {
        self.bits.intersect(other);
        self.write_all(&self.file.lock())
    }

    fn write_all(&self, file: &File) -> io::Result<()> {
        let bytes: Vec<u8> = self.bits.snapshot().into_iter().flat_map(u64::to_le_bytes).collect();
        file.write_all_at(&bytes, HEADER_BYTES as u64)
    }

    fn write_word(&self, id: u32) -> io::Result<()> {
        let file = self.file.lock();
        let (number, word) = self.bits.word_of(id);
        file.write_all_at(&word.to_le_bytes(), (HEADER_BYTES + number * 8) as u64)
    }
}

/// No map is longer: 2^32 chunks.
const MAP_BYTES_MAX: u64 = HEADER_BYTES as u64 + (1 << 32) / 8;
