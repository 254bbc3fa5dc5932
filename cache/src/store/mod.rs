//! One layer's chunks on disk: the sparse data file and its maps, and what happens when somebody deletes them.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use peel_layer::LayerIndex;

// What crate::model has of its own comes by way of the parent.
use super::{
    map::{self, Identity, LearnedDigests, LiveMap},
    pins::{self, Pins},
    sync::{self, AtomicBool, AtomicU64, Mutex, RwLock},
};
use crate::{BootId, disk, gc::Gauge, groups::Grouping, stats::Counters};

mod admit;
mod durable;
mod epochs;
mod evict;
mod files;

use epochs::{Clock, Epochs};

/// Name of the file of learned digests.
const LEARNED: &str = "digests";

/// What became of a chunk that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Written; found again from now on.
    Stored,
    /// It was there already.
    Present,
    /// Not stored: there is no room below the watermark, the disk is full or broken, or the layer was removed. Counted
    /// and logged here; the reader is served from memory all the same.
    Refused,
}

/// What the index says about the data file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) chunks: u32,
    pub(crate) data_size: u64,
    pub(crate) tree: [u8; 32],
    /// The index has no digests of chunks: they are learned and kept beside the map.
    pub(crate) learns: bool,
    /// Of a chunk group.
    pub(crate) group_bytes: u64,
}

impl Shape {
    /// As `index` has it, in groups of `group_bytes`.
    pub(crate) fn of<B: AsRef<[u8]>>(index: &LayerIndex<B>, group_bytes: u64) -> Self {
        Self {
            chunks: index.chunk_count(),
            data_size: index.data_size().0,
            tree: index.tree_digest(),
            group_bytes,
            learns: !index.format().has_chunk_digests(),
        }
    }
}

/// What all stores of a cache share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) counters: Counters,
    pub(crate) clock: Clock,
    pub(crate) gauge: Gauge,
    /// Stores that took chunks or were read since the last sync: kept alive until then, also when their layer is
    /// closed.
    pub(crate) unsynced: Mutex<Vec<Arc<ChunkStore>>>,
}

/// The cache directory of one layer. Its files come with the first chunk; until then it costs nothing.
#[derive(Debug)]
pub(crate) struct ChunkStore {
    dir: PathBuf,
    shape: Shape,
    boot: BootId,
    /// Replaced as a whole when the directory was deleted: whoever reads from the old files goes on.
    files: RwLock<Option<Arc<ChunkFiles>>>,
    removed: AtomicBool,
    epochs: Epochs,
    /// The epochs changed since they were last written.
    touched: AtomicBool,
    /// Rises with every change of bits or epochs, after it.
    version: AtomicU64,
    shared: Arc<Shared>,
}

/// One set of files. Bits and bytes that belong together stay together.
#[derive(Debug)]
pub(crate) struct ChunkFiles {
    data: std::fs::File,
    map: LiveMap,
    /// Where the index has no digests of chunks.
    learned: Option<LearnedDigests>,
    identity: Identity,
    pub(crate) pins: Pins,
    unsynced: AtomicBool,
    /// Held by whoever writes the durable map.
    durable: Mutex<()>,
    /// Shared by admitting threads, exclusive while holes are punched.
    admitting: RwLock<()>,
}

impl ChunkStore {
    /// The store in `dir`, with what an earlier process left there.
    pub(crate) fn open(dir: PathBuf, shape: Shape, boot: BootId, shared: Arc<Shared>) -> Arc<Self> {
        let store = Self::new(dir, shape, boot, shared);
        match store.load() {
            Ok(files) => {
                if let Err(error) = store.epochs.load(&store.dir, store.shared.clock.now()) {
                    tracing::warn!(dir = %store.dir.display(), %error, "when it was read is not known");
                }
                let (files, store) = (Arc::new(files), Arc::new(store));
                *store.files.write() = Some(Arc::clone(&files));
                // The process before this one ended between a chunk and the next sync.
                if !store.is_durable(&files) {
                    store.mark_unsynced(&files);
                }
                return store;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(dir = %store.dir.display(), %error, "dropping cached chunks that cannot be used");
                if let Err(error) = disk::remove_dir(&store.dir) {
                    tracing::warn!(%error, "could not be removed");
                }
            }
        }
        Arc::new(store)
    }

    fn new(dir: PathBuf, shape: Shape, boot: BootId, shared: Arc<Shared>) -> Self {
        let epochs = Epochs::new(Grouping::new(shape.data_size, shape.group_bytes));
        let (files, removed, touched) = (RwLock::default(), false.into(), false.into());
        let version = AtomicU64::new(0);
        Self { dir, shape, boot, files, removed, epochs, touched, version, shared }
    }

    /// Whether there are files in `dir`. An error says why [`Self::open`] would drop them.
    pub(crate) fn examine(dir: PathBuf, shape: Shape, boot: BootId, shared: Arc<Shared>) -> io::Result<bool> {
        match Self::new(dir, shape, boot, shared).load() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn load(&self) -> io::Result<ChunkFiles> {
        let data = std::fs::File::options().read(true).write(true).open(self.dir.join("data"))?;
        let found = data.metadata()?;
        let identity = self.identity(&found);
        let path = self.dir.join("map");
        let other = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        if found.len() != self.shape.data_size {
            return Err(other("data file of another size"));
        }
        let map = match LiveMap::open(&path, &identity, self.boot).or_else(ignore_not_found)? {
            Some(map) => map,
            // Another boot: what the page cache held is gone, the durable map knows what was synced.
            None => {
                let bits = self.durable_bits(&identity)?.ok_or_else(|| other("no map that fits"))?;
                LiveMap::create_with(&path, &identity, self.boot, bits)?
            }
        };
        let learned = if self.shape.learns {
            // Without its digest no chunk can be checked again.
            let learned = LearnedDigests::open(&self.dir.join(LEARNED), &identity)?;
            Some(learned.ok_or_else(|| other("digests of another data file"))?)
        } else {
            None
        };
        Ok(ChunkFiles::new(data, (map, learned), identity))
    }

    fn identity(&self, data: &std::fs::Metadata) -> Identity {
        let Shape { chunks, data_size, tree, .. } = self.shape;
        Identity { chunks, data_size, inode: data.ino(), tree }
    }

    /// New, empty files, replacing whatever is there.
    fn create(&self) -> io::Result<ChunkFiles> {
        if self.removed.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the layer was removed"));
        }
        sync::slow();
        disk::create_dir(&self.dir).map_err(io::Error::other)?;
        let path = self.dir.join("data");
        // Maps know their file by its inode number, which the new one may get from the old one: they go first.
        let remove = |path: &Path| std::fs::remove_file(path).or_else(ignore_not_found);
        [&self.dir.join("map"), &self.dir.join(durable::NAME)].into_iter().try_for_each(|map| remove(map))?;
        std::fs::File::open(&self.dir)?.sync_all()?;
        remove(&path)?;
        let data = disk::create_new(&path)?;
        data.set_len(self.shape.data_size)?;
        let identity = self.identity(&data.metadata()?);
        let learned = self.shape.learns.then(|| LearnedDigests::create(&self.dir.join(LEARNED), &identity));
        let learned = learned.transpose()?;
        let map = LiveMap::create(&self.dir.join("map"), &identity, self.boot)?;
        Ok(ChunkFiles::new(data, (map, learned), identity))
    }

    /// The files as they are, also when they were unlinked: bytes that were stored stay readable.
    pub(crate) fn files(&self) -> Option<Arc<ChunkFiles>> {
        self.files.read().clone()
    }

    /// Files that are still in the directory; made anew when they are not.
    fn linked_files(&self) -> io::Result<Arc<ChunkFiles>> {
        if let Some(files) = &*self.files.read()
            && files.is_linked()?
        {
            return Ok(Arc::clone(files));
        }
        let mut files = self.files.write();
        if let Some(files) = &*files
            && files.is_linked()?
        {
            return Ok(Arc::clone(files));
        }
        if files.is_some() {
            tracing::warn!(dir = %self.dir.display(), "cache directory was deleted; filling it anew");
            Counters::add(&self.shared.counters.recreated, 1);
        }
        let new = Arc::new(self.create()?);
        *files = Some(Arc::clone(&new));
        self.note_change();
        Ok(new)
    }

    /// Which state of bits and epochs this is: what was counted of the same one is still true.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    fn note_change(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The next sync has work here.
    fn mark_unsynced(self: &Arc<Self>, files: &ChunkFiles) {
        if !files.unsynced.swap(true, Ordering::SeqCst) {
            self.shared.unsynced.lock().push(Arc::clone(self));
        }
    }

    /// The chunk turned out to be damaged: missing from now on. `files` is where it was read.
    pub(crate) fn forget(self: &Arc<Self>, files: &ChunkFiles, id: u32) {
        if let Err(error) = files.map.clear(id) {
            // The bit in memory is clear; without its file the map cannot mislead the next process either.
            tracing::warn!(dir = %self.dir.display(), %error, "chunk map cannot be written, dropping it");
            let _ = std::fs::remove_file(self.dir.join("map"));
        }
        self.note_change();
        self.mark_unsynced(files);
    }

    /// No new files from now on. Those that are open stay readable.
    pub(crate) fn mark_removed(&self) {
        // Who is just making files is waited for; they go with the directory then.
        let _nobody_makes_files = self.files.write();
        self.removed.store(true, Ordering::SeqCst);
    }
}

fn ignore_not_found<T: Default>(error: io::Error) -> io::Result<T> {
    if error.kind() == io::ErrorKind::NotFound { Ok(T::default()) } else { Err(error) }
}
