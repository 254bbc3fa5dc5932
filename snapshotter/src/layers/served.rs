//! What the filesystem asks: trees and bytes by slot.
//!
//! Nothing here waits for the network on the caller's thread: a session thread that waited would hold up every
//! other layer. A layer's reader is made when something first reads it, so that a restart opens nothing.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, RwLock};
use peel_cache::{Cache, CacheError, Limits};
use peel_fetch::{BlobSource, Fetcher, LayerReader};
use peel_layer::{
    DataOffset, IndexKey,
    serve::{LayerSource, ReadError, ReadReply, Slot, TreeImage, Watch},
};
use peel_registry::Client;
use tokio::runtime::Handle;

use super::{
    blobs::Blobs,
    slots::{Shown, Slots},
    sources::Place,
};
use crate::content::ContentStore;

/// See the module's header.
#[derive(Debug)]
pub struct Served {
    pub(super) slots: Slots,
    pub(super) cache: Arc<Cache>,
    pub(super) fetcher: Fetcher,
    pub(super) blobs: Blobs,
    registry: RwLock<Asked>,
    pub(super) content: ContentStore,
    readers: Mutex<HashMap<IndexKey, Arc<LayerReader>>>,
    handle: Handle,
    /// For statfs: the filesystem of Peel's root.
    root: PathBuf,
}

/// How registries are asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// By whom.
    pub client: Client,
    /// How long one is waited for by one request of the fetcher.
    pub patience: Duration,
}

impl Served {
    /// Puts the parts together. Reads that wait run on `handle`.
    pub fn new(
        slots: Slots,
        fetcher: (Fetcher, Arc<Cache>),
        blobs: Blobs,
        registry: Asked,
        content: ContentStore,
        (handle, root): (Handle, PathBuf),
    ) -> Self {
        let (fetcher, cache) = fetcher;
        Self {
            slots,
            cache,
            fetcher,
            blobs,
            registry: RwLock::new(registry),
            content,
            readers: Mutex::default(),
            handle,
            root,
        }
    }

    /// The daemon's state directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The tree image of what a slot shows.
    ///
    /// # Errors
    /// The image is damaged or gone.
    pub(super) fn tree_of(&self, shown: &Shown) -> Result<Option<TreeImage>, CacheError> {
        let Some(layer) = self.cache.layer(&shown.key)? else { return Ok(None) };
        match shown.tree {
            None => layer.tree(),
            Some(tree) => layer.derived_tree(tree),
        }
        .map(Some)
    }

    /// Who asks registries.
    pub(super) fn registry(&self) -> Client {
        self.registry.read().client.clone()
    }

    /// Registries are asked like this from now on, also for layers that are being read.
    pub fn set_registry(&self, registry: Asked) {
        *self.registry.write() = registry;
        let readers: Vec<IndexKey> = self.readers.lock().keys().copied().collect();
        readers.iter().for_each(|key| self.refresh(key));
    }

    /// The places that have the blob of `key`, as known now.
    pub(super) fn places(&self, key: &IndexKey) -> Vec<Place> {
        let sources = self.blobs.sources(&key.layer).unwrap_or_else(|error| {
            tracing::warn!(layer = %key.layer, %error, "the layer's registries cannot be read from the metadata");
            Vec::new()
        });
        let size = sources.first().map_or(0, |source| source.size);
        Place::all(&self.registry(), &key.layer, self.content.blob_file(&key.layer, size), &sources)
    }

    /// The same, for the fetcher.
    pub(super) fn sources(&self, key: &IndexKey) -> Vec<Arc<dyn BlobSource>> {
        let patience = self.registry.read().patience;
        self.places(key).into_iter().map(|place| place.into_source(patience)).collect()
    }

    /// The reader of a layer whose index is on disk.
    ///
    /// # Errors
    /// The index is gone or damaged.
    pub(super) fn reader(&self, key: &IndexKey) -> Result<Arc<LayerReader>, ReadError> {
        if let Some(reader) = self.readers.lock().get(key) {
            return Ok(Arc::clone(reader));
        }
        let layer = self
            .cache
            .layer(key)
            .map_err(|error| ReadError::Local(error.to_string()))?
            .ok_or(ReadError::Gone)?;
        let sources = self.sources(key);
        let reader = self.fetcher.layer(layer, sources);
        self.readers.lock().insert(*key, Arc::clone(&reader));
        Ok(reader)
    }

    /// The places of `key` changed: the next read asks the new ones.
    pub(super) fn refresh(&self, key: &IndexKey) {
        let reader = self.readers.lock().get(key).cloned();
        if let Some(reader) = reader {
            reader.set_sources(self.sources(key));
        }
    }

    /// Makes what is cached safe from a machine crash. Blocks. A failure was logged.
    pub fn sync(&self) {
        let _ = self.cache.sync();
    }

    /// Makes what is cached safe from a machine crash, and waits until the cache is short of room, `limit` at most.
    /// Blocks. A failure to write was logged, and what it left is done by the next call.
    pub fn keep(&self, limit: Duration) {
        self.cache.advance(SystemTime::now());
        self.sync();
        self.cache.wait_for_pressure(limit);
    }

    /// The watermarks from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.cache.set_limits(limits);
    }

    /// How patient reads are from now on.
    pub fn set_patience(&self, config: peel_fetch::Config) {
        self.fetcher.configure(config);
    }

    /// The layer is going away.
    pub(super) fn forget(&self, key: &IndexKey) {
        self.readers.lock().remove(key);
    }
}

impl LayerSource for Served {
    fn tree(&self, slot: Slot) -> Option<TreeImage> {
        let shown = self.slots.shown(slot)?;
        self.tree_of(&shown).unwrap_or_else(|error| {
            tracing::error!(%slot, layer = %shown.key.layer, %error, "tree cannot be shown");
            None
        })
    }

    fn data_size(&self, slot: Slot) -> Result<DataOffset, ReadError> {
        let shown = self.slots.shown(slot).ok_or(ReadError::Gone)?;
        Ok(self.reader(&shown.key)?.layer().index().data_size())
    }

    fn slots(&self) -> Vec<Slot> {
        self.slots.all().into_iter().map(|(slot, _)| slot).collect()
    }

    fn read(&self, slot: Slot, range: Range<DataOffset>, reply: ReadReply) {
        let Some(shown) = self.slots.shown(slot) else { return reply(Err(ReadError::Gone)) };
        let reader = match self.reader(&shown.key) {
            Ok(reader) => reader,
            Err(error) => return reply(Err(error)),
        };
        if let Some(bytes) = reader.read_now(range.clone()) {
            return reply(Ok(bytes));
        }
        self.handle.spawn(async move { reply(reader.read(range).await) });
    }

    fn watched_by(&self, watch: Arc<dyn Watch>) {
        self.fetcher.watched_by(watch);
    }

    fn capacity(&self) -> (u64, u64) {
        rustix::fs::statvfs(&self.root)
            .map_or((0, 0), |stat| (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
    }
}
