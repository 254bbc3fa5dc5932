//! Layers that are being streamed: what has come so far, before it can be published.
//!
//! ```text
//! <cache_dir>/stream/<64 hex of the layer>/blob   compressed bytes so far, from the first on, without holes
//!                                          data   data file that is being written; only while somebody streams
//! ```
//!
//! The blob file is the pipe between network and inflater: one side appends, the other reads behind it out of the page
//! cache. So memory does not grow with the difference of their speeds, and a pull that failed, was cancelled or was
//! ended by a restart goes on where the download stopped: the bytes that are here are inflated once more, which is
//! faster than any link. They are believed as far as that only: the layer digest is checked over all of them, and a
//! machine crash that left zeros costs a second download.
//!
//! The folder lies in the cache directory, since its data file becomes the layer's cache file by rename, and since it
//! counts as cache: disposable, and the first thing to go when room is needed. What is written waits for room at the high
//! watermark, as long as eviction can make some.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use peel_layer::LayerDigest;

use crate::{Cache, CacheError, disk};

mod folder;

pub use folder::{DataWriter, Staged, StagedBlob};

/// Name of the directory in the cache directory.
pub(crate) const STREAM: &str = "stream";

/// Layers that somebody streams now.
#[derive(Debug, Default)]
pub(crate) struct Busy(Mutex<HashSet<LayerDigest>>);

/// What is known of a layer that was streamed in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedLayer {
    /// Which layer.
    pub layer: LayerDigest,
    /// Blocks that it takes, in bytes.
    pub disk_bytes: u64,
    /// When bytes came last.
    pub changed: SystemTime,
    /// Somebody is streaming it now; it cannot be dropped.
    pub busy: bool,
}

impl Cache {
    /// The folder of a layer that is about to be streamed, with what an earlier attempt left in it. Nothing when
    /// somebody has it already.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn staging(&self, layer: LayerDigest) -> Result<Option<Staged>, CacheError> {
        let staged = self.take(layer);
        staged.as_ref().map_or(Ok(()), |staged| disk::create_dir(staged.dir()))?;
        Ok(staged)
    }

    /// All layers that are, or were, streamed in part.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn staged(&self) -> Result<Vec<StagedLayer>, CacheError> {
        let parent = self.stream_dir();
        let entries = match fs::read_dir(&parent) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(disk::at(parent)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(disk::at(&parent))?;
            let name = entry.file_name();
            let Some(layer) = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok()) else {
                continue;
            };
            let busy = self.busy().0.lock().contains(&layer);
            let (disk_bytes, changed) = usage(&entry.path());
            found.push(StagedLayer { layer, disk_bytes, changed, busy });
        }
        Ok(found)
    }

    /// Throws away what was streamed of a layer. Says whether it could: not while somebody streams it.
    ///
    /// # Errors
    /// The folder could not be removed.
    pub fn drop_staged(&self, layer: LayerDigest) -> Result<bool, CacheError> {
        self.take(layer).map_or(Ok(false), |staged| staged.discard().map(|()| true))
    }

    /// The folder, whether it is there or not. Its drop gives the layer back.
    fn take(&self, layer: LayerDigest) -> Option<Staged> {
        let free = self.busy().0.lock().insert(layer);
        let dir = self.stream_dir().join(layer.hex());
        free.then(|| Staged::new(dir, layer, Arc::clone(self.busy()), Arc::clone(&self.shared)))
    }

    fn stream_dir(&self) -> PathBuf {
        self.cache_dir().join(STREAM)
    }
}

/// Bytes of the files in `dir`, and when one changed last. What vanishes meanwhile counts nothing.
fn usage(dir: &Path) -> (u64, SystemTime) {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
    files.fold((0, SystemTime::UNIX_EPOCH), |(bytes, changed), file| {
        let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        (bytes + file.blocks() * 512, changed.max(modified))
    })
}
