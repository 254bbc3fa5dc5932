//! What no snapshot shows any more is given back.
//!
//! A slot goes at once. A layer's index and cached chunks stay for `cache.unreferenced_ttl`, so that a failed pull
//! goes on where it stopped; when space is short they go at once, but for those of a pull that may be under way.
//! Remove itself only notes the layer: containerd holds its lock meanwhile (contract §0
//! fact 3). So does whoever starts to read an index: the indexes of an image are read before its snapshots exist,
//! and of a pull that fails at the first layer the others never do.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use peel_layer::{IndexKey, failpoint, serve::Slot};
use tokio::time::Instant;

use super::{Inner, LazyLayers, record::index_keys, task::State};
use crate::metastore::MetastoreError;

/// Layers that may have no snapshot, since when, and why.
#[derive(Debug, Default)]
pub(super) struct Unreferenced(Mutex<HashMap<IndexKey, (Instant, Why)>>);

/// Why a layer may have no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// One was removed, or is missing since before the start.
    Removed,
    /// One may still come: its index is read for a pull.
    Pulled,
}

impl Unreferenced {
    pub(super) fn note(&self, key: IndexKey, why: Why) {
        self.0.lock().insert(key, (Instant::now(), why));
    }
}

/// What the snapshots in the metadata use.
#[derive(Debug, Default)]
struct Used {
    slots: HashSet<Slot>,
    keys: HashSet<IndexKey>,
}

impl LazyLayers {
    /// Layers on disk that no snapshot uses, left over from before the start, go like others.
    pub async fn find_leftovers(&self) {
        let inner = Arc::clone(&self.0);
        let found = tokio::task::spawn_blocking(move || {
            for layer in inner.served.cache.stats().layers {
                inner.unreferenced.note(layer.key, Why::Removed);
            }
        });
        if let Err(error) = found.await {
            tracing::warn!(%error, "leftover layers were not looked for");
        }
    }
}

impl Inner {
    /// Gives back what is not used; see the module's header. `at_once`: space is short.
    pub(super) fn reap(&self, at_once: bool) -> Result<(), MetastoreError> {
        self.reap_staged(at_once);
        // Before the metadata are read: a layer whose last snapshot goes in between is noted again, with another time,
        // and must not be taken for one that is still used.
        let noted = self.unreferenced.0.lock().clone();
        if noted.is_empty() {
            return Ok(());
        }
        // No slot is given to a snapshot meanwhile, and none that a snapshot got before is missed.
        let _change = self.slots_change.lock();
        let used = self.used()?;
        for (slot, _) in self.served.slots.all() {
            if !used.slots.contains(&slot) {
                self.mounts.release(slot);
                self.served.slots.release(slot)?;
            }
        }
        let config = self.config.now();
        let ttl = |why| match why {
            Why::Removed if at_once => Duration::ZERO,
            // A pull in which nothing moved for so long has failed.
            Why::Pulled if at_once => config.pull.timeout,
            Why::Removed | Why::Pulled => config.cache.unreferenced_ttl,
        };
        let expired: Vec<IndexKey> = {
            let mut unreferenced = self.unreferenced.0.lock();
            unreferenced.retain(|key, since| !used.keys.contains(key) || noted.get(key) != Some(since));
            // What is being read would be there again afterwards, and nobody would know.
            let running = |key: &IndexKey| {
                self.indexes.get(key).is_some_and(|task| matches!(task.state(), State::Running))
            };
            let expired = |(key, (since, why)): (&IndexKey, &(Instant, Why))| {
                (since.elapsed() >= ttl(*why) && !used.keys.contains(key) && !running(key)).then_some(*key)
            };
            let expired: Vec<_> = unreferenced.iter().filter_map(expired).collect();
            for key in &expired {
                unreferenced.remove(key);
                self.indexes.forget(key);
            }
            expired
        };
        for key in expired {
            self.served.forget(&key);
            // Another index of the same blob may be in use.
            if !used.keys.iter().any(|other| other.layer == key.layer) {
                self.served.blobs.forget(&key.layer)?;
                self.contents.forget(&key.layer)?;
            }
            failpoint::reach(|| "reap: sources forgotten");
            match self.served.cache.remove(&key) {
                Ok(()) => tracing::info!(layer = %key.layer, "layer removed"),
                Err(error) => tracing::warn!(layer = %key.layer, %error, "layer not removed"),
            }
        }
        Ok(())
    }

    /// What was streamed in part, and is not being streamed.
    fn reap_staged(&self, at_once: bool) {
        let ttl = if at_once { Duration::ZERO } else { self.config.now().cache.unreferenced_ttl };
        let staged = self.served.cache.staged();
        for staged in
            staged.inspect_err(|error| tracing::warn!(%error, "partly streamed layers stay")).iter().flatten()
        {
            let age = staged.changed.elapsed().unwrap_or_default();
            if !staged.busy && age >= ttl {
                match self.served.cache.drop_staged(staged.layer) {
                    Ok(true) => tracing::info!(layer = %staged.layer, "partly streamed layer removed"),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(layer = %staged.layer, %error, "partly streamed layer not removed")
                    }
                }
            }
        }
    }

    fn used(&self) -> Result<Used, MetastoreError> {
        let mut used = Used::default();
        self.metastore.snapshot()?.each_snapshot(|snapshot| {
            if let Some(remote) = &snapshot.remote {
                used.slots.extend(remote.slot.map(Slot));
                used.keys.extend(index_keys(remote));
            }
        })?;
        Ok(used)
    }
}
