//! A layer's numbers, without opening it and without counting its chunks again.
//!
//! ```text
//!  open, unchanged since it was last counted   as counted          one comparison
//!  open, changed                               counted again       a pass over its chunks
//!  closed                                      as when it closed   one stat of its data file
//!  never open yet                              opened              its table read whole, once a process
//! ```
//!
//! To open a layer is to check the checksum of its table, so a scrape of the metrics that opened those beyond
//! [`crate::Config::open_layers`] would read all of their tables each time.

use std::{os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

use parking_lot::Mutex;

use crate::{CacheStats, Layer, LayerStats, cache::Slot};

/// What a layer had when it was closed.
#[derive(Debug, Clone, Default)]
pub(crate) struct WhenClosed(Arc<Mutex<Option<LayerStats>>>);

/// What was counted, and of which state of the store ([`crate::store::ChunkStore::version`]).
pub(crate) type Counted = Mutex<Option<(u64, LayerStats)>>;

impl Layer {
    /// What it takes and has.
    #[must_use]
    pub fn stats(&self) -> LayerStats {
        // Read first: what changes while it is counted is counted again.
        let version = self.store.version();
        let mut counted = self.counted.lock();
        match &mut *counted {
            Some((of, stats)) if *of == version => {
                // The filesystem gives and takes blocks of its own.
                stats.disk_bytes = self.disk_bytes();
                stats.clone()
            }
            _ => counted.insert((version, self.count())).1.clone(),
        }
    }

    fn count(&self) -> LayerStats {
        LayerStats {
            key: self.key(),
            content_bytes: self.index().content_size(),
            present_bytes: self.present_bytes(),
            disk_bytes: self.disk_bytes(),
            oldest_access: self.groups().iter().map(|group| group.epoch).min(),
        }
    }

    fn disk_bytes(&self) -> u64 {
        self.store.files().map_or(0, |files| files.disk_bytes())
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        let stats = self.stats();
        *self.when_closed.0.lock() = Some(stats);
    }
}

impl WhenClosed {
    /// The numbers of the layer whose data file is `data`, if it was ever open.
    fn of(&self, data: &Path) -> Option<LayerStats> {
        let stats = self.0.lock().clone()?;
        Some(match std::fs::metadata(data) {
            Ok(data) => LayerStats { disk_bytes: data.blocks() * 512, ..stats },
            // Never filled, or deleted by hand.
            Err(_) => LayerStats { disk_bytes: 0, present_bytes: 0, oldest_access: None, ..stats },
        })
    }
}

impl crate::Cache {
    /// What the cache has and did. The first call of a process opens layers, one at a time; later ones do not.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let layers = self.names().into_iter().filter_map(|name| self.stats_of(&name));
        CacheStats::new(layers.collect(), &self.shared)
    }

    fn stats_of(&self, name: &str) -> Option<LayerStats> {
        let closed = |slot: &Slot| slot.when_closed.of(&self.cache_dir().join(name).join("data"));
        self.in_slot(name, |slot| match slot.layer.upgrade() {
            Some(layer) => Some(layer.stats()),
            None => closed(slot).or_else(|| Some(self.look_in(slot, name).ok()??.stats())),
        })?
    }
}
