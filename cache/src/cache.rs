//! All layers of the node.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, Once};
use peel_layer::{ChunkDigest, FileDigest, IndexKey, VerifiedChunk};

use crate::{
    BootId, CacheError, Config, Layer, Limits, Urgency, disk,
    gc::{Collector, Gauge},
    open_layers::OpenLayers,
    staging::{Busy, STREAM},
    store::{ChunkStore, Shared},
    summary::WhenClosed,
};

/// Index files and cached chunks of this node. One process at a time opens a directory; the daemon sees to it.
#[derive(Debug)]
pub struct Cache {
    config: Config,
    /// Every layer with an index, by directory name.
    slots: Mutex<HashMap<String, Arc<Mutex<Slot>>>>,
    open: OpenLayers,
    searchable: Once,
    pub(crate) collector: Mutex<Collector>,
    pub(crate) shared: Arc<Shared>,
    busy: Arc<Busy>,
    /// Opened to be checked: nothing was removed, and nobody else uses it.
    as_found: bool,
}

/// A known layer. Locked while it is opened, published or removed.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) layer: Weak<Layer>,
    /// Outlives the layer until it is synced. There is never a second one: two would not know each other's bits.
    pub(crate) store: Weak<ChunkStore>,
    pub(crate) when_closed: WhenClosed,
}

impl Cache {
    /// Opens the directories, makes them when they are missing, and removes what a crash left unfinished.
    /// No layer is opened yet.
    ///
    /// # Errors
    /// The directories cannot be made or read.
    pub fn open(config: Config) -> Result<Self, CacheError> {
        disk::create_dir(&config.index_dir)?;
        disk::create_dir(&config.cache_dir)?;
        let indexes = disk::finished_dirs(&config.index_dir)?;
        let known: HashSet<&str> = indexes.iter().map(String::as_str).collect();
        for orphan in disk::finished_dirs(&config.cache_dir)? {
            if orphan != STREAM && !known.contains(orphan.as_str()) {
                disk::remove_dir(&config.cache_dir.join(orphan))?;
            }
        }
        let cache = Self::assemble(config, &indexes, false);
        // Its size limit counts what is there already. A filesystem that cannot be asked is asked again later.
        if let Err(error) = cache.measure() {
            tracing::warn!(%error, "usage of the disk is not known yet");
        }
        Ok(cache)
    }

    /// The cache with all that a crash left, for [`Self::check`] alone. No other process may use it.
    ///
    /// # Errors
    /// The directories cannot be made or read.
    pub fn open_as_found(config: Config) -> Result<Self, CacheError> {
        disk::create_dir(&config.index_dir)?;
        disk::create_dir(&config.cache_dir)?;
        let mut indexes = disk::dir_names(&config.index_dir)?;
        indexes.retain(|name| !name.starts_with(disk::TEMPORARY));
        Ok(Self::assemble(config, &indexes, true))
    }

    fn assemble(config: Config, indexes: &[String], as_found: bool) -> Self {
        let slots = indexes.iter().map(|name| (name.clone(), Arc::default())).collect();
        Self {
            open: OpenLayers::new(config.open_layers),
            slots: Mutex::new(slots),
            searchable: Once::new(),
            collector: Mutex::default(),
            shared: Arc::new(Shared { gauge: Gauge::new(&config), ..Shared::default() }),
            busy: Arc::default(),
            as_found,
            config,
        }
    }

    /// The layer, opened if need be, its tree image checked; nothing when no index was published.
    ///
    /// # Errors
    /// [`CacheError::Damaged`]: build the index again and publish it. Else the disk.
    pub fn layer(&self, key: &IndexKey) -> Result<Option<Arc<Layer>>, CacheError> {
        let name = key.to_string();
        self.in_slot(&name, |slot| self.open_in(slot, &name)).unwrap_or(Ok(None))
    }

    /// As [`Self::layer`] for those who look at all layers, and need none: which stay open does not change, while there
    /// is room for more. The tree is not checked.
    pub(crate) fn look_at(&self, name: &str) -> Result<Option<Arc<Layer>>, CacheError> {
        self.in_slot(name, |slot| self.look_in(slot, name)).unwrap_or(Ok(None))
    }

    /// The same, under the slot's lock.
    pub(crate) fn look_in(&self, slot: &mut Slot, name: &str) -> Result<Option<Arc<Layer>>, CacheError> {
        Ok(self.opened(slot, name)?.inspect(|layer| self.open.offer(layer)))
    }

    /// Does `work` under the slot's lock; nothing where there is no layer called `name`.
    pub(crate) fn in_slot<T>(&self, name: &str, work: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let slot = self.slots.lock().get(name).cloned()?;
        let mut slot = slot.lock();
        Some(work(&mut slot))
    }

    /// Opens the layer called `name` under its slot's lock, checks its tree, and keeps it open.
    pub(crate) fn open_in(&self, slot: &mut Slot, name: &str) -> Result<Option<Arc<Layer>>, CacheError> {
        let Some(layer) = self.opened(slot, name)? else { return Ok(None) };
        layer.tree()?;
        self.open.touch(&layer);
        Ok(Some(layer))
    }

    fn opened(&self, slot: &mut Slot, name: &str) -> Result<Option<Arc<Layer>>, CacheError> {
        if let Some(layer) = slot.layer.upgrade() {
            return Ok(Some(layer));
        }
        let config = &self.config;
        let opened = Layer::open(config, name, &self.shared, &slot.when_closed, |shape| {
            slot.store.upgrade().unwrap_or_else(|| {
                let dir = config.cache_dir.join(name);
                ChunkStore::open(dir, shape, config.boot, Arc::clone(&self.shared))
            })
        })?;
        let Some(layer) = opened.map(Arc::new) else { return Ok(None) };
        (slot.layer, slot.store) = (Arc::downgrade(&layer), Arc::downgrade(&layer.store));
        Ok(Some(layer))
    }

    /// The slot of a layer that is about to be published.
    pub(crate) fn slot_or_new(&self, name: &str) -> Arc<Mutex<Slot>> {
        Arc::clone(self.slots.lock().entry(name.to_owned()).or_default())
    }

    pub(crate) fn index_dir(&self) -> &Path {
        &self.config.index_dir
    }

    pub(crate) fn cache_dir(&self) -> &Path {
        &self.config.cache_dir
    }

    pub(crate) fn boot(&self) -> BootId {
        self.config.boot
    }

    pub(crate) fn group_bytes(&self) -> u64 {
        self.config.group_bytes
    }

    /// It is open to be checked only.
    pub(crate) fn is_as_found(&self) -> bool {
        self.as_found
    }

    /// Keeps the layer open no longer.
    pub(crate) fn close(&self, name: &str) {
        self.open.remove(name);
    }

    /// Layers that somebody streams.
    pub(crate) fn busy(&self) -> &Arc<Busy> {
        &self.busy
    }

    pub(crate) fn pending_patience(&self) -> Duration {
        self.config.pending
    }

    pub(crate) fn gauge(&self) -> &Gauge {
        &self.shared.gauge
    }

    /// Directory names of all layers, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.slots.lock().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Bytes of disk that all layers' chunks take, and what was streamed in part.
    pub(crate) fn cached_bytes(&self) -> u64 {
        let blocks = |name: &String| {
            let data = std::fs::metadata(self.config.cache_dir.join(name).join("data"));
            data.map_or(0, |data| data.blocks() * 512)
        };
        let staged = self.staged().unwrap_or_default();
        self.names().iter().map(blocks).chain(staged.iter().map(|staged| staged.disk_bytes)).sum()
    }

    /// The time that reads are noted with, until the next call. Call it every few seconds; it does not go back.
    pub fn advance(&self, now: SystemTime) {
        self.shared.clock.advance(now);
    }

    /// Whether chunks of this urgency would be stored now. What nobody waits for need not be fetched if not.
    #[must_use]
    pub fn has_room(&self, urgency: Urgency) -> bool {
        self.gauge().has_room(urgency)
    }

    /// The watermarks from now on. The next [`Self::collect`] goes by them, and so does what is stored.
    pub fn set_limits(&self, limits: Limits) {
        self.gauge().set_limits(limits);
    }

    /// Waits until a reader's chunk finds no room, `limit` at most: then [`Self::collect`] is due.
    pub fn wait_for_pressure(&self, limit: Duration) {
        self.gauge().wait_pressed(limit);
    }

    /// Removes index and chunks. Whoever holds the layer reads on, but stores nothing more.
    ///
    /// # Errors
    /// The directories could not be removed; at the next start they are gone or known again.
    pub fn remove(&self, key: &IndexKey) -> Result<(), CacheError> {
        let name = key.to_string();
        let slot = self.slots.lock().remove(&name);
        let slot = slot.as_ref().map(|slot| slot.lock());
        if let Some(store) = slot.as_ref().and_then(|slot| slot.store.upgrade()) {
            store.mark_removed();
        }
        self.open.remove(&name);
        // Index first: chunks without an index are removed at the next start.
        disk::remove_dir(&self.config.index_dir.join(&name))?;
        disk::remove_dir(&self.config.cache_dir.join(&name))
    }

    /// The bytes with this digest, from any layer that has them in the cache, checked against it.
    #[must_use]
    pub fn find_content(&self, digest: &ChunkDigest) -> Option<VerifiedChunk> {
        self.searchable.call_once(|| self.open_for_search());
        self.open.all().iter().rev().find_map(|layer| layer.find_content(digest))
    }

    /// Bytes `part` of a file of `size` bytes, from any layer that has that part of the same file in the cache, however it
    /// cuts it; checked against `expected`.
    #[must_use]
    pub fn find_part(
        &self,
        file: &FileDigest,
        size: u64,
        part: &Range<u64>,
        expected: &ChunkDigest,
    ) -> Option<VerifiedChunk> {
        self.searchable.call_once(|| self.open_for_search());
        self.open.all().iter().rev().find_map(|layer| layer.find_part(file, size, part, expected))
    }

    /// After a start: layers that nobody mounted yet have content too, those that were used last first.
    fn open_for_search(&self) {
        let used = |name: &String| {
            let dir = self.config.cache_dir.join(name);
            let filled = dir.join("map").exists();
            // Written when something was read.
            filled.then(|| std::fs::metadata(dir.join("epochs")).and_then(|epochs| epochs.modified()).ok())
        };
        let mut names: Vec<_> =
            self.names().into_iter().filter_map(|name| Some((used(&name)?, name))).collect();
        names.sort_unstable_by(|one, other| other.cmp(one));
        for (_, name) in names.iter().take(self.open.capacity()) {
            if let Err(error) = self.look_at(name) {
                tracing::warn!(%error, "layer is left out of the search for content");
            }
        }
    }

    /// Makes what was stored since the last call safe from a machine crash. Blocks on the disk: call it every
    /// few seconds from a thread that may wait.
    ///
    /// # Errors
    /// The first failure; the others were logged, and all are tried again the next time.
    pub fn sync(&self) -> Result<(), CacheError> {
        let stores = std::mem::take(&mut *self.shared.unsynced.lock());
        let mut outcome = Ok(());
        for store in stores {
            if let Err(error) = store.sync() {
                // A full disk is said once, by who cannot store.
                if error.kind() != std::io::ErrorKind::StorageFull {
                    tracing::warn!(%error, "cached chunks are not safe from a machine crash yet");
                }
                self.shared.unsynced.lock().push(store);
                outcome = outcome.and_then(|()| Err(disk::at(&self.config.cache_dir)(error)));
            }
        }
        outcome
    }
}
