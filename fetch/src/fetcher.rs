//! What all layers share, and the readers of layers in use.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, Weak},
};

use parking_lot::{Mutex, RwLock};
use peel_cache::{Cache, Layer};
use peel_layer::{IndexKey, serve::Watch};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    BlobSource, Config, FetchStats, LayerReader,
    overflow::Overflow,
    room::Room,
    schedule::{LayerNumber, Scheduler},
    stats::Counters,
};

/// Gives layers their readers. One for the daemon.
#[derive(Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
    readers: Mutex<Readers>,
}

#[derive(Debug, Default)]
struct Readers {
    last_number: LayerNumber,
    by_key: HashMap<IndexKey, Weak<LayerReader>>,
}

/// What every reader needs.
#[derive(Debug)]
pub(crate) struct Shared {
    config: RwLock<Arc<Config>>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) handle: Handle,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) counters: Counters,
    pub(crate) overflow: Overflow,
    /// Threads that decode what no reader waits for. Readers' chunks do not queue behind those.
    pub(crate) decoders: Semaphore,
    pub(crate) room: Room,
    /// Turns of layers to be streamed.
    pub(crate) streams: Semaphore,
    /// Turns of layers that are streamed again for some chunks.
    pub(crate) refills: Semaphore,
    pub(crate) watch: OnceLock<Arc<dyn Watch>>,
}

impl Shared {
    /// As it is now. Not to be kept for longer than one piece of work: it does not change.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read())
    }
}

/// Layers streamed again at a time: readers wait for each, and more would only make all slower.
const REFILLS: usize = 2;

impl Fetcher {
    /// Work runs on `handle`'s threads, decoding on its blocking ones.
    #[must_use]
    pub fn new(config: Config, cache: Arc<Cache>, handle: Handle) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            scheduler: Scheduler::new(&config),
            overflow: Overflow::new(config.overflow_bytes),
            decoders: Semaphore::new(cores),
            room: Room::new(config.decode_bytes),
            streams: Semaphore::new(config.streams.max(1)),
            refills: Semaphore::new(REFILLS),
            counters: Counters::default(),
            watch: OnceLock::new(),
            config: RwLock::new(Arc::new(config)),
            cache,
            handle,
        };
        Self { shared: Arc::new(shared), readers: Mutex::default() }
    }

    /// The reader of a layer: one and the same for all who have it open, so that they share flights. `sources`, in
    /// order of preference, replace those that it had.
    pub fn layer(&self, layer: Arc<Layer>, sources: Vec<Arc<dyn BlobSource>>) -> Arc<LayerReader> {
        let mut readers = self.readers.lock();
        let known = readers.by_key.get(&layer.key()).and_then(Weak::upgrade);
        if let Some(reader) = known.filter(|reader| Arc::ptr_eq(reader.layer(), &layer)) {
            reader.set_sources(sources);
            return reader;
        }
        readers.by_key.retain(|_, reader| reader.strong_count() > 0);
        readers.last_number += 1;
        let key = layer.key();
        let reader =
            Arc::new(LayerReader::new(layer, readers.last_number, Arc::clone(&self.shared), sources));
        readers.by_key.insert(key, Arc::downgrade(&reader));
        reader
    }

    /// How long is waited, and how many requests are under way, from the next request on. What is as large as it was
    /// made (memory, turns of streams) stays.
    pub fn configure(&self, config: Config) {
        self.shared.scheduler.set_demand_per_layer(config.demand_per_layer);
        *self.shared.config.write() = Arc::new(config);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// For the scheduler to tell work apart.
    pub(crate) fn next_number(&self) -> LayerNumber {
        let mut readers = self.readers.lock();
        readers.last_number += 1;
        readers.last_number
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> FetchStats {
        self.shared.counters.snapshot()
    }
}
