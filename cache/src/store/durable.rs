//! The durable map: what survives the machine.

use std::{
    fs, io,
    sync::{Arc, atomic::Ordering},
};

use super::{
    ChunkFiles, ChunkStore, ignore_not_found,
    map::{AtomicBits, Identity, LearnedDigests, decode_durable, encode_durable},
};
use crate::disk;

/// Name of the file.
pub(super) const NAME: &str = "map.durable";

impl ChunkStore {
    /// Makes what was stored so far safe from a machine crash. Nothing to do if nothing changed.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.sync_with(fs::File::sync_data)
    }

    /// As [`Self::sync`]; `sync_data` brings the data to the disk. Tests have one that fails.
    pub(crate) fn sync_with(&self, sync_data: fn(&fs::File) -> io::Result<()>) -> io::Result<()> {
        let Some(files) = self.files() else { return Ok(()) };
        if self.touched.swap(false, Ordering::SeqCst)
            && let Err(error) = self.epochs.save(&self.dir)
        {
            // A hint: the next read writes it again.
            tracing::debug!(dir = %self.dir.display(), %error, "when it was read cannot be written");
        }
        if !files.unsynced.swap(false, Ordering::SeqCst) || !files.is_linked()? {
            return Ok(());
        }
        self.sync_files(&files, sync_data).inspect_err(|_| files.unsynced.store(true, Ordering::SeqCst))
    }

    fn sync_files(&self, files: &ChunkFiles, sync_data: fn(&fs::File) -> io::Result<()>) -> io::Result<()> {
        let _one = files.durable.lock();
        // Copied first: a chunk that comes during the sync may be on the disk or not.
        let bits = AtomicBits::copy(files.identity.chunks, files.bits());
        // Digests are synced with the data: a chunk in the durable map has its own.
        let synced = files.learned.as_ref().map_or(Ok(()), LearnedDigests::sync);
        if let Err(error) = synced.and_then(|()| sync_data(&files.data)) {
            // The kernel marks such pages clean: they read well until they are dropped, then as something else.
            let durable = self.durable_bits(&files.identity).ok().flatten();
            let kept = files.map.intersect(&durable.unwrap_or_default());
            self.note_change();
            kept?;
            tracing::warn!(dir = %self.dir.display(), %error, "sync failed; unsynced chunks are dropped");
            return Err(error);
        }
        self.write_durable(files, &bits)
    }

    /// Takes the cleared bits of `files` out of the durable map too. A full disk has no room for another map: then the
    /// old one goes, and a machine crash before the next sync costs the layer's chunks.
    pub(crate) fn clear_durable(self: &Arc<Self>, files: &ChunkFiles) -> io::Result<()> {
        let _one = files.durable.lock();
        let Some(bits) = self.durable_bits(&files.identity)? else { return Ok(()) };
        if files.bits().has_all_of(&bits) {
            return Ok(());
        }
        bits.intersect(files.bits());
        self.write_durable(files, &bits).or_else(|error| {
            tracing::debug!(dir = %self.dir.display(), %error, "durable map cannot be written, dropping it");
            fs::remove_file(self.dir.join(NAME)).or_else(ignore_not_found)?;
            self.mark_unsynced(files);
            fs::File::open(&self.dir)?.sync_all()
        })
    }

    fn write_durable(&self, files: &ChunkFiles, bits: &AtomicBits) -> io::Result<()> {
        let map = encode_durable(&files.identity, self.boot, bits);
        let write = || {
            disk::replace(&self.dir.join(NAME), &map, true)?;
            // The layer's own directory may be as new as its files.
            self.dir.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
        };
        // The directory was deleted just now, and the old map with it.
        write().or_else(ignore_not_found)
    }

    /// What the durable map says of `files`; nothing without one that fits.
    pub(crate) fn durable_of(&self, files: &ChunkFiles) -> Option<AtomicBits> {
        self.durable_bits(&files.identity).ok().flatten()
    }

    /// The durable map has all that the live map has.
    pub(super) fn is_durable(&self, files: &ChunkFiles) -> bool {
        self.durable_of(files).is_some_and(|durable| durable.has_all_of(files.bits()))
    }

    /// What the durable map says; nothing without one that fits.
    pub(super) fn durable_bits(&self, identity: &Identity) -> io::Result<Option<AtomicBits>> {
        let file: Vec<u8> = fs::read(self.dir.join(NAME)).or_else(ignore_not_found)?;
        Ok(decode_durable(identity, &file))
    }
}
