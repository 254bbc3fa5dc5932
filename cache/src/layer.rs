//! One open layer: its mapped index, its trees, its chunks.

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use peel_layer::{
    ChunkDigest, ChunkId, IndexKey, LayerIndex, VerifiedChunk, seek::SeekIndex, serve::TreeImage,
};

use crate::{
    Admission, CacheError, Config, MappedFile, TreeId, Urgency,
    content::ContentFilter,
    disk,
    store::{ChunkStore, Shape, Shared},
    summary::{Counted, WhenClosed},
};

/// Name of the chunk table in a layer's index directory.
pub(crate) const TABLE: &str = "chunks";
/// Name of the tree image there.
pub(crate) const TREE: &str = "tree.erofs";
/// Name of the seek index there, for formats that have one.
pub(crate) const SEEK: &str = "seek";

/// A layer whose index is on this node. Lives as long as somebody holds it, also after it was removed.
///
/// Costs two descriptors (only once chunks were stored), two mappings, and a bit and a byte of memory a chunk.
pub struct Layer {
    /// Directory of the index files.
    pub(crate) dir: PathBuf,
    name: String,
    index: LayerIndex<MappedFile>,
    tree: Mutex<Option<TreeImage>>,
    pub(crate) derived: Mutex<HashMap<TreeId, TreeImage>>,
    pub(crate) store: Arc<ChunkStore>,
    pub(crate) filter: OnceLock<ContentFilter>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counted: Counted,
    pub(crate) when_closed: WhenClosed,
    recheck_one_in: u32,
    /// Bytes read since a read was last checked again.
    unchecked: AtomicU64,
}

impl Layer {
    /// Opens the layer in the index directory `name`; nothing when there is none. `store` gives the chunk store,
    /// which may be in use already.
    pub(crate) fn open(
        config: &Config,
        name: &str,
        shared: &Arc<Shared>,
        when_closed: &WhenClosed,
        store: impl FnOnce(Shape) -> Arc<ChunkStore>,
    ) -> Result<Option<Self>, CacheError> {
        let dir = config.index_dir.join(name);
        let Some(index) = Self::open_index(&dir, name)? else { return Ok(None) };
        let shape = Shape::of(&index, config.group_bytes);
        Ok(Some(Self {
            dir,
            name: name.to_owned(),
            index,
            tree: Mutex::default(),
            derived: Mutex::default(),
            store: store(shape),
            filter: OnceLock::new(),
            shared: Arc::clone(shared),
            counted: Counted::default(),
            when_closed: when_closed.clone(),
            recheck_one_in: config.recheck_one_in.max(1),
            unchecked: AtomicU64::new(0),
        }))
    }

    /// The index in `dir`, of the layer called `name`, its checksums right; nothing when there is none.
    pub(crate) fn open_index(dir: &Path, name: &str) -> Result<Option<LayerIndex<MappedFile>>, CacheError> {
        let path = dir.join(TABLE);
        let Some(table) = disk::map(&path)? else {
            return if dir.exists() {
                Err(CacheError::Damaged { path, reason: "missing".to_owned() })
            } else {
                Ok(None)
            };
        };
        let damaged = |reason: String| CacheError::Damaged { path: path.clone(), reason };
        let index = LayerIndex::parse(table).map_err(|error| damaged(error.to_string()))?;
        if index.key().to_string() != name {
            return Err(damaged(format!("it is the table of {}", index.key())));
        }
        if index.format().has_seek_index() { with_seek(index, dir).map(Some) } else { Ok(Some(index)) }
    }

    /// Which layer this is.
    #[must_use]
    pub fn key(&self) -> IndexKey {
        self.index.key()
    }

    /// Its directory name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its chunk table.
    #[must_use]
    pub fn index(&self) -> &LayerIndex<MappedFile> {
        &self.index
    }

    /// Its tree image, checked against the chunk table when it is first asked for.
    ///
    /// # Errors
    /// The image is missing, cannot be read or is damaged.
    pub fn tree(&self) -> Result<TreeImage, CacheError> {
        let mut tree = self.tree.lock();
        if let Some(tree) = &*tree {
            return Ok(tree.clone());
        }
        let image = crate::tree::open(&self.dir.join(TREE), self.index.tree_digest())?;
        Ok(tree.insert(image).clone())
    }

    /// Where the image of a tree is, for the kernel to mount: the layer's own, or a derived one. Open it first
    /// ([`Self::tree`], [`Self::derived_tree`]): the kernel does not notice every damage.
    #[must_use]
    pub fn tree_path(&self, derived: Option<TreeId>) -> PathBuf {
        self.dir.join(derived.map_or_else(|| TREE.to_owned(), TreeId::file_name))
    }

    /// Stores a chunk that a reader waits for. Chunks of other bytes than the index has for `id` are refused; where the
    /// index has no digests, that of `chunk` is learned.
    pub fn admit(&self, id: ChunkId, chunk: &VerifiedChunk) -> Admission {
        self.admit_for(Urgency::Demand, id, chunk)
    }

    /// Stores a chunk like [`Self::admit`], if there is room for one that comes for this reason.
    pub fn admit_for(&self, urgency: Urgency, id: ChunkId, chunk: &VerifiedChunk) -> Admission {
        let expected = self.index.chunk(id);
        let right = match expected.digest {
            Some(digest) => digest == *chunk.digest(),
            None => expected.length() == chunk.bytes().len() as u64,
        };
        if !right {
            return Admission::Refused;
        }
        self.store.admit(id.0, expected.data.start.0, chunk, urgency)
    }

    /// The digest of a chunk: the index's, or the one that was learned at its first decoding.
    #[must_use]
    pub fn digest(&self, id: ChunkId) -> Option<ChunkDigest> {
        self.index.chunk(id).digest.or_else(|| self.store.files()?.learned(id.0))
    }

    /// Whether the chunk can be read without the network, as of now.
    #[must_use]
    pub fn has(&self, id: ChunkId) -> bool {
        self.store.files().is_some_and(|files| files.has(id.0))
    }

    /// Makes chunks missing and frees their blocks; safe under readers. Gives the bytes of disk that this freed.
    ///
    /// # Errors
    /// The maps could not be written or holes not be punched; the chunks are missing all the same.
    pub fn evict(&self, ids: &[ChunkId]) -> Result<u64, CacheError> {
        let mut ids: Vec<u32> = ids.iter().map(|id| id.0).collect();
        ids.sort_unstable();
        self.store.evict(&ids, |absent| self.holes(&ids, absent)).map_err(disk::at(self.dir.clone()))
    }

    /// Bytes of its chunks that are in the cache.
    #[must_use]
    pub fn present_bytes(&self) -> u64 {
        self.store.files().map_or(0, |files| {
            let length = |id| {
                let data = self.index.chunk(ChunkId(id)).data;
                data.end.0 - data.start.0
            };
            files.bits().iter().map(length).sum()
        })
    }

    /// Whether this read of `length` bytes is one of those whose chunks, `ids`, are checked again.
    pub(crate) fn recheck_due(&self, ids: Range<u32>, length: usize) -> bool {
        if self.recheck_one_in == 1 {
            return true;
        }
        let unchecked = self.unchecked.fetch_add(length as u64, Ordering::Relaxed) + length as u64;
        let cost: u64 = ids.map(|id| self.index.chunk(ChunkId(id)).length()).sum();
        let due = unchecked >= cost.saturating_mul(self.recheck_one_in.into());
        if due {
            self.unchecked.store(0, Ordering::Relaxed);
        }
        due
    }
}

/// The chunk table with its seek index.
fn with_seek(index: LayerIndex<MappedFile>, dir: &Path) -> Result<LayerIndex<MappedFile>, CacheError> {
    let path = dir.join(SEEK);
    let damaged = |reason: String| CacheError::Damaged { path: path.clone(), reason };
    let seek = disk::map(&path)?.ok_or_else(|| damaged("missing".to_owned()))?;
    let seek = SeekIndex::parse(seek).map_err(|error| damaged(error.to_string()))?;
    index.with_seek(seek).map_err(|error| damaged(error.to_string()))
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({})", self.name)
    }
}
