//! Digests that no index has, one a chunk, in a file beside the map.
//!
//! A SOCI layer's index has digests of compressed spans only. What a chunk's bytes hash to is learned when they are first
//! decoded from a span that was checked, and kept: for reads that are checked again, for fsck, and to find the same
//! bytes elsewhere. A digest is written before its chunk's bit is set, and synced before a durable map that has the bit:
//! where the bit is set, the digest is there. It stays when the chunk is evicted, since it says the same for ever.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use peel_layer::ChunkDigest;

use super::{Identity, format};
use crate::disk;

/// Bytes of a digest.
const DIGEST: usize = 32;

/// The file. See the module's header.
#[derive(Debug)]
pub(crate) struct LearnedDigests {
    file: File,
    chunks: u32,
}

impl LearnedDigests {
    /// A file that knows nothing yet. It is sparse: what was not learned takes no space.
    pub(crate) fn create(path: &Path, identity: &Identity) -> io::Result<Self> {
        let header = format::learned_header(identity);
        let file = disk::replace(path, &header, false)?;
        file.set_len(place(identity.chunks))?;
        Ok(Self { file, chunks: identity.chunks })
    }

    /// The file at `path`; nothing if it belongs to another data file.
    pub(crate) fn open(path: &Path, identity: &Identity) -> io::Result<Option<Self>> {
        let mut file = File::options().read(true).write(true).open(path)?;
        let mut header = Vec::new();
        io::Read::by_ref(&mut file).take(format::HEADER_BYTES as u64).read_to_end(&mut header)?;
        let fits =
            header == format::learned_header(identity) && file.metadata()?.len() == place(identity.chunks);
        Ok(fits.then_some(Self { file, chunks: identity.chunks }))
    }

    /// What was learned of the chunk.
    pub(crate) fn get(&self, id: u32) -> io::Result<Option<ChunkDigest>> {
        if id >= self.chunks {
            return Ok(None);
        }
        let mut digest = [0; DIGEST];
        self.file.read_exact_at(&mut digest, place(id))?;
        Ok((digest != [0; DIGEST]).then(|| ChunkDigest::from_bytes(digest)))
    }

    /// Notes the digest of the chunk, in place of an older one.
    pub(crate) fn set(&self, id: u32, digest: &ChunkDigest) -> io::Result<()> {
        if id >= self.chunks {
            return Ok(());
        }
        self.file.write_all_at(digest.as_bytes(), place(id))
    }

    /// Makes all that was noted safe from a machine crash.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Where a chunk's digest is; of the number of chunks, where the file ends.
fn place(id: u32) -> u64 {
    format::HEADER_BYTES as u64 + u64::from(id) * DIGEST as u64
}
