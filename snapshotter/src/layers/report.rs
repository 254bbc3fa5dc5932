//! What `peel layers` and `peel stats` show: every layer, whose it is and why.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroUsize,
};

use lru::LruCache;
use parking_lot::Mutex;
use peel_cache::{CacheStats, DiskUsage};
use peel_layer::{IndexKey, ManifestDigest};
use peel_proto::peel::control::v1 as api;

use super::{
    LazyLayers,
    record::index_key,
    task::{self, State},
};
use crate::{
    image::Way,
    metastore::{Kind, MetastoreError, SnapshotRecord},
    remote::Extraction,
};

/// Images whose reason for being ordinary is remembered, until the daemon's restart.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Images left to containerd, and why.
#[derive(Debug)]
pub(super) struct Ordinary(Mutex<LruCache<ManifestDigest, (String, String)>>);

impl Default for Ordinary {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Ordinary {
    /// Notes, and logs what is new: nobody shall have to guess why an image was not lazy.
    pub(super) fn note(&self, extraction: &Extraction, reason: &str) {
        let entry = (extraction.image_ref.clone(), reason.to_owned());
        if self.0.lock().put(extraction.manifest_digest, entry).is_none_or(|(_, before)| before != reason) {
            tracing::info!(image = extraction.image_ref, reason, "image is left to containerd");
        }
    }

    fn reason(&self, manifest: &str) -> Option<(String, String)> {
        self.0.lock().peek(&manifest.parse().ok()?).cloned()
    }

    pub(super) fn by_reason(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (_, (_, reason)) in self.0.lock().iter() {
            *counts.entry(reason.clone()).or_default() += 1;
        }
        counts
    }
}

impl LazyLayers {
    /// Every layer that a snapshot stands for.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn report(&self) -> Result<Vec<api::Layer>, MetastoreError> {
        self.report_with(&self.0.served.cache.stats())
    }

    /// The same, of numbers that the caller has: to make them, the cache looks at every layer.
    pub(super) fn report_with(&self, cache: &CacheStats) -> Result<Vec<api::Layer>, MetastoreError> {
        let inner = &self.0;
        let cached: HashMap<IndexKey, _> = cache.layers.iter().map(|layer| (layer.key, layer)).collect();
        let mut lazy: BTreeMap<IndexKey, api::Layer> = BTreeMap::new();
        let (mut ordinary, mut quarantined) = (Vec::new(), BTreeMap::<_, HashSet<_>>::new());
        for snapshot in committed(&inner.metastore.snapshot()?)? {
            let Some(remote) = &snapshot.remote else {
                ordinary.push(self.ordinary(&snapshot));
                continue;
            };
            let Some(key) = index_key(remote) else { continue };
            let (key, way) = inner.current(remote, key);
            let layer = lazy.entry(key).or_insert_with(|| api::Layer {
                digest: remote.layer_digest.clone(),
                format: way.as_ref().map_or("", |way| way.format().name()).to_owned(),
                streamed: way.as_ref().is_some_and(Way::is_stream),
                ours: true,
                reason: remote.why.clone(),
                ..api::Layer::default()
            });
            layer.image.clone_from(&remote.image_ref);
            layer.snapshots.push(snapshot.key.clone());
            match inner.snapshots.get(&snapshot.id).map(|task| task.state()) {
                Some(State::Failed(error)) => {
                    (layer.state, layer.error) = ("failed".to_owned(), error.to_string());
                }
                Some(State::Lost) => {
                    (layer.state, layer.error) = ("failed".to_owned(), task::LOST.to_owned());
                }
                Some(State::Running) => "resolving".clone_into(&mut layer.state),
                _ if remote.slot.is_none() => "resolving".clone_into(&mut layer.state),
                _ => "readable".clone_into(&mut layer.state),
            }
            if layer.streamed && layer.state == "resolving" {
                "streaming".clone_into(&mut layer.state);
                let progress = inner.indexes.get(&key).map(|task| task.progress().downloaded());
                (layer.downloaded_bytes, layer.download_bytes) = progress.unwrap_or_default();
            }
            if let Some(cached) = cached.get(&key) {
                (layer.present_bytes, layer.total_bytes) = (cached.present_bytes, cached.content_bytes);
                if layer.state == "readable" && cached.present_bytes == cached.content_bytes {
                    "complete".clone_into(&mut layer.state);
                }
            }
            layer.proven = layer.streamed || inner.contents.get(&key.layer).is_some();
            if let Some(error) = inner.contradiction(remote) {
                quarantined.entry(key).or_default().insert(snapshot.key.clone());
                layer.error = error.to_string();
            }
            // Of several snapshots of a layer, one may be honest: what needs attention is shown.
            if quarantined.contains_key(&key) {
                (layer.state, layer.proven) = ("quarantined".to_owned(), false);
            }
        }
        for (key, snapshots) in quarantined {
            if let Some(layer) = lazy.get_mut(&key) {
                layer.containers = inner.users(&snapshots)?;
            }
        }
        Ok(lazy.into_values().chain(ordinary).collect())
    }

    fn ordinary(&self, snapshot: &SnapshotRecord) -> api::Layer {
        let label = |name: &str| snapshot.labels.get(name).cloned().unwrap_or_default();
        let known = self.0.ordinary.reason(&label("containerd.io/snapshot/cri.manifest-digest"));
        let unasked = || (label("containerd.io/snapshot/cri.image-ref"), "containerd unpacked it".to_owned());
        let (image, reason) = known.unwrap_or_else(unasked);
        api::Layer {
            digest: label("containerd.io/snapshot/cri.layer-digest"),
            state: "ordinary".to_owned(),
            image,
            reason,
            snapshots: vec![snapshot.key.clone()],
            ..api::Layer::default()
        }
    }
}

/// A filesystem as the control API shows it.
pub(crate) fn filesystem(disk: DiskUsage) -> api::Filesystem {
    api::Filesystem {
        capacity_bytes: disk.capacity,
        available_bytes: disk.available,
        used_percent: disk.percent().into(),
    }
}

fn committed(store: &crate::metastore::ReadTx) -> Result<Vec<SnapshotRecord>, MetastoreError> {
    let mut found = Vec::new();
    store.each_snapshot(|snapshot| {
        if snapshot.kind == Kind::Committed {
            found.push(snapshot);
        }
    })?;
    Ok(found)
}
