//! The folder of one layer that is being streamed.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use peel_layer::{DataOffset, LayerDigest};

use super::Busy;
use crate::{CacheError, disk, gc::PATIENCE, store::Shared};

const BLOB: &str = "blob";
const DATA: &str = "data";

/// A layer's folder, held by the only one who streams it. Dropping it keeps the compressed bytes for the next attempt
/// and removes the data file, which that one writes anew.
#[derive(Debug)]
pub struct Staged {
    dir: PathBuf,
    layer: LayerDigest,
    busy: Arc<Busy>,
    shared: Arc<Shared>,
}

/// The compressed bytes so far.
#[derive(Debug)]
pub struct StagedBlob {
    file: File,
    path: PathBuf,
    shared: Arc<Shared>,
}

/// The data file that is being written.
#[derive(Debug)]
pub struct DataWriter {
    file: File,
    path: PathBuf,
    shared: Arc<Shared>,
}

impl Staged {
    pub(super) fn new(dir: PathBuf, layer: LayerDigest, busy: Arc<Busy>, shared: Arc<Shared>) -> Self {
        Self { dir, layer, busy, shared }
    }

    /// Which layer.
    #[must_use]
    pub fn layer(&self) -> LayerDigest {
        self.layer
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The compressed bytes that are here.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn blob(&self) -> Result<StagedBlob, CacheError> {
        let path = self.dir.join(BLOB);
        let mut options = disk::private_options();
        let file = options.create(true).open(&path).map_err(disk::at(&path))?;
        Ok(StagedBlob { file, path, shared: Arc::clone(&self.shared) })
    }

    /// A new, empty data file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn data(&self) -> Result<DataWriter, CacheError> {
        let path = self.data_path();
        let mut options = disk::private_options();
        let file = options.create(true).truncate(true).open(&path).map_err(disk::at(&path))?;
        Ok(DataWriter { file, path, shared: Arc::clone(&self.shared) })
    }

    pub(crate) fn data_path(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    /// Throws everything away.
    ///
    /// # Errors
    /// The folder could not be removed.
    pub fn discard(self) -> Result<(), CacheError> {
        if self.dir.exists() { disk::remove_dir(&self.dir) } else { Ok(()) }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Absent when nothing was written, or when it was published.
        let _ = std::fs::remove_file(self.data_path());
        self.busy.0.lock().remove(&self.layer);
    }
}

impl StagedBlob {
    /// How many bytes are here.
    ///
    /// # Errors
    /// The disk.
    pub fn length(&self) -> Result<u64, CacheError> {
        Ok(self.file.metadata().map_err(disk::at(&self.path))?.len())
    }

    /// Adds bytes at `at`, where the file ends. Waits for eviction at the high watermark.
    ///
    /// # Errors
    /// The disk, most likely because it is full.
    pub fn append(&self, at: u64, bytes: &[u8]) -> Result<(), CacheError> {
        write(&self.file, &self.path, &self.shared, at, bytes)
    }

    /// Bytes from `at` on, as many as are there and fit.
    ///
    /// # Errors
    /// The disk.
    pub fn read(&self, at: u64, buffer: &mut [u8]) -> Result<usize, CacheError> {
        loop {
            match self.file.read_at(buffer, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map_err(disk::at(&self.path)),
            }
        }
    }

    /// Forgets what comes after `length`.
    ///
    /// # Errors
    /// The disk.
    pub fn cut(&self, length: u64) -> Result<(), CacheError> {
        self.file.set_len(length).map_err(disk::at(&self.path))
    }
}

impl DataWriter {
    /// Writes bytes of a file of the layer at their place. Waits for eviction at the high watermark.
    ///
    /// # Errors
    /// The disk, most likely because it is full.
    pub fn write(&self, at: DataOffset, bytes: &[u8]) -> Result<(), CacheError> {
        write(&self.file, &self.path, &self.shared, at.0, bytes)
    }
}

fn write(file: &File, path: &Path, shared: &Shared, at: u64, bytes: &[u8]) -> Result<(), CacheError> {
    let room = shared.gauge.wait_for_room(bytes.len() as u64, PATIENCE);
    room.and_then(|_room| file.write_all_at(bytes, at)).map_err(disk::at(path))
}
