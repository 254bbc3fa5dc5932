//! Tree images: the layer's own, and those derived from it.
//!
//! Directories that a layer implies but does not name take their attributes from the layers below, so they
//! depend on the chain. A snapshot on a chain where they differ gets its own image, next to the layer's.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use peel_layer::serve::TreeImage;
use sha2::{Digest as _, Sha256};

use crate::{CacheError, Layer, PublishError, disk};

/// A derived tree: the sha256 of its image.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeId([u8; 32]);

impl TreeId {
    /// An id that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 hex digits; the rest is checked when the file is opened.
    pub(crate) fn file_name(self) -> String {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        format!("tree-{:016x}.erofs", u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Debug for TreeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file_name())
    }
}

/// Maps the image at `path` and checks all of it.
pub(crate) fn open(path: &Path, expected: [u8; 32]) -> Result<TreeImage, CacheError> {
    let damaged = |reason: &str| CacheError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let image = disk::map(path)?.ok_or_else(|| damaged("missing"))?;
    let found: [u8; 32] = Sha256::digest(image.as_ref()).into();
    if found == expected { Ok(TreeImage::new(image)) } else { Err(damaged("its sha256 is another")) }
}

impl Layer {
    /// Writes a derived tree, durably. The same bytes give the same id and are stored once.
    ///
    /// # Errors
    /// What `write` said, or the disk.
    pub fn publish_tree<E>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<TreeId, PublishError<E>> {
        let io = |error| PublishError::Cache(disk::at(self.dir.clone())(error));
        let file = tempfile::Builder::new().prefix(disk::TEMPORARY).tempfile_in(&self.dir).map_err(io)?;
        let id = {
            let mut out = Hashing { out: BufWriter::new(file.as_file()), hash: Sha256::new() };
            write(&mut out).map_err(PublishError::Content)?;
            out.flush().map_err(io)?;
            TreeId(out.hash.finalize().into())
        };
        file.as_file().sync_all().map_err(io)?;
        file.persist(self.dir.join(id.file_name())).map_err(|error| io(error.error))?;
        disk::sync_dir(&self.dir)?;
        Ok(id)
    }

    /// A derived tree, checked when it is first asked for.
    ///
    /// # Errors
    /// The image is missing, cannot be read or is damaged; [`Self::publish_tree`] replaces it.
    pub fn derived_tree(&self, id: TreeId) -> Result<TreeImage, CacheError> {
        let mut derived = self.derived.lock();
        if let Some(image) = derived.get(&id) {
            return Ok(image.clone());
        }
        let image = open(&self.dir.join(id.file_name()), id.0)?;
        derived.insert(id, image.clone());
        Ok(image)
    }
}

/// Hashes what passes through.
struct Hashing<'a> {
    out: BufWriter<&'a File>,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
