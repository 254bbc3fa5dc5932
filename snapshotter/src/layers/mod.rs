//! The layers that Peel serves: resolve → index → readable.
//!
//! ```text
//!  Prepare ─▶ decide (manifest, failures) ─▶ record committed ─▶ resolve ─┐   all layers of the image at once
//!                                                                         ▼
//!  Stat, Mounts ─▶ gate: waits for ─▶ task of the snapshot ─▶ task of the index (TOC read, verified, published)
//!                                      │                   └▶ task of the snapshot below
//!                                      ├▶ slot (tree of its own where implied directories differ)
//!                                      └▶ first files, for the image's topmost layer
//! ```
//!
//! A *task* belongs to the index or the snapshot, not to the call that waits ([`task`]). A snapshot that was
//! readable once has its slot in the metadata and its index on disk: after a restart it is readable again without
//! network, credentials or manifest.

pub mod blobs;
mod complete;
pub mod contents;
pub mod decide;
pub mod error;
pub mod failures;
mod first_files;
pub mod fsck;
mod gate;
mod gc;
mod lower;
mod lowerdir;
pub mod merged;
mod place;
pub mod progress;
mod pulls;
mod quarantine;
mod reap;
mod record;
pub mod report;
mod resolve;
pub mod served;
pub mod slots;
pub mod sources;
mod stats;
pub mod task;

use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use peel_cache::Layer;
use peel_layer::{IndexKey, ManifestDigest, serve::Slot};
use tokio::time::Instant;
use tonic::Status;

use crate::{
    config,
    image::Way,
    metastore::{Metastore, RemoteSnapshot, SnapshotId, SnapshotRecord},
    mounts::LayerMounts,
    remote::{Decision, Extraction, RemoteLayers, Waiter},
    snapshots::Directories,
};

use self::{
    contents::Contents,
    decide::{Images, Judged},
    error::{Cause, GateError},
    failures::Failures,
    reap::{Unreferenced, Why},
    record::index_keys,
    served::Served,
    task::{OnFailure, Task, Tasks},
};

/// See the module's header.
#[derive(Debug, Clone)]
pub struct LazyLayers(Arc<Inner>);

struct Inner {
    config: config::Live,
    /// Lowerdirs of the slots.
    mounts: LayerMounts,
    /// Where ordinary snapshots are.
    directories: Directories,
    metastore: Arc<Metastore>,
    served: Arc<Served>,
    images: Images,
    failures: Failures,
    contents: Contents,
    indexes: Tasks<IndexKey, Arc<Layer>>,
    soci: resolve::SociIndexes,
    snapshots: Tasks<SnapshotId, Slot>,
    /// When a Prepare of an image was last seen.
    prepared: Mutex<HashMap<ManifestDigest, Instant>>,
    /// Held while a slot is given to a snapshot, and while unused slots are looked for.
    slots_change: Mutex<()>,
    unreferenced: Unreferenced,
    ordinary: report::Ordinary,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("mounts", &self.mounts).finish_non_exhaustive()
    }
}

impl LazyLayers {
    /// Serves what `metastore` has, through `mounts`.
    #[must_use]
    pub fn new(
        config: config::Live,
        metastore: Arc<Metastore>,
        (served, contents): (Arc<Served>, Contents),
        directories: Directories,
        mounts: LayerMounts,
    ) -> Self {
        let failures = Failures::new(config.now().pull.remember());
        Self(Arc::new(Inner {
            mounts,
            directories,
            images: Images::new(served.content.clone()),
            metastore,
            served,
            failures,
            contents,
            indexes: Tasks::default(),
            soci: resolve::SociIndexes::default(),
            snapshots: Tasks::default(),
            prepared: Mutex::default(),
            slots_change: Mutex::default(),
            unreferenced: Unreferenced::default(),
            ordinary: report::Ordinary::default(),
            config,
        }))
    }

    /// The configuration changed.
    pub fn reconfigure(&self) {
        self.0.failures.set_ttl(self.0.config.now().pull.remember());
    }

    /// The FUSE connection was replaced; its successor is mounted at `mount_point`.
    pub fn move_to(&self, mount_point: &std::path::Path) {
        if let Err(error) = self.0.mounts.move_to(mount_point) {
            tracing::error!(%error, "layers stay on a dead FUSE connection");
        }
    }

    /// What is there to serve.
    #[must_use]
    pub fn served(&self) -> &Arc<Served> {
        &self.0.served
    }
}

#[tonic::async_trait]
impl RemoteLayers for LazyLayers {
    async fn decide(&self, extraction: &Extraction) -> Decision {
        let inner = &self.0;
        inner.note_prepare(extraction.manifest_digest);
        let (mut decision, judged) = inner.images.decide(extraction, &inner.failures).await;
        // Known to be a lie since another image, or an earlier pull: no window this time.
        if let Decision::Ours(remote) = &decision
            && let Some(error) = inner.contradiction(remote)
        {
            decision = Decision::Refuse((&error).into());
        }
        match &decision {
            Decision::Ours(_) => {
                if let Some(judged) = judged {
                    inner.start_indexes(extraction, &judged);
                }
            }
            Decision::Ordinary { reason } => inner.ordinary.note(extraction, reason),
            Decision::Refuse(status) => {
                tracing::warn!(image = extraction.image_ref, reason = status.message(), "image refused");
            }
        }
        decision
    }

    fn resolve(&self, snapshot: &SnapshotRecord) {
        // A snapshot that has its slot is readable from what is on disk; its task starts with its first use.
        let unresolved = snapshot.remote.as_ref().is_some_and(|remote| remote.slot.is_none());
        if unresolved {
            self.0.task(snapshot, OnFailure::Keep);
        }
    }

    async fn readable(&self, snapshot: &SnapshotRecord, waiter: Waiter) -> Result<(), Status> {
        // Mounts asks for all layers of a chain, Stat for the one on top.
        if waiter == Waiter::Stat {
            self.0.check_quarantine(snapshot).await?;
        }
        self.0.readable(snapshot).await.map(drop)
    }

    async fn lowerdir(&self, snapshot: &SnapshotRecord) -> Result<PathBuf, Status> {
        self.0.lowerdir_of(snapshot).await
    }

    fn removed(&self, snapshot: &SnapshotRecord) {
        self.0.snapshots.forget(&snapshot.id);
        for key in snapshot.remote.as_ref().map(index_keys).unwrap_or_default() {
            self.0.unreferenced.note(key, Why::Removed);
        }
    }

    async fn cleanup(&self) {
        if let Err(error) = self.collect(None).await {
            tracing::warn!(%error, "space was not given back");
        }
    }
}

impl Inner {
    fn note_prepare(&self, manifest: ManifestDigest) {
        let mut prepared = self.prepared.lock();
        let recent = self.config.now().pull.recent;
        prepared.retain(|_, at| at.elapsed() < recent);
        prepared.insert(manifest, Instant::now());
    }

    /// Starts reading the indexes of all layers of an image. containerd asks for one layer after the other and
    /// waits for each; the network should not.
    fn start_indexes(self: &Arc<Self>, extraction: &Extraction, judged: &Judged) {
        let Ok(supports) = &judged.verdict else { return };
        let mut known = Vec::new();
        for (layer, support) in judged.image.layers.iter().zip(supports) {
            let remote = record::record(extraction, layer, support);
            let ways = index_keys(&remote).into_iter().filter(|key| self.indexes.get(key).is_some());
            known.extend(ways.map(|key| (key, remote.clone())));
            // Its outcome is in the tasks of its ways, for the snapshot's own.
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.resolve(&remote, OnFailure::Keep).await });
        }
        // This image is one more that has them, and the newest: also for readers that are at work.
        let served = Arc::clone(&self.served);
        tokio::task::spawn_blocking(move || {
            for (key, remote) in known {
                match served.blobs.note(&remote) {
                    Ok(()) => served.refresh(&key),
                    Err(error) => tracing::warn!(layer = %key.layer, %error, "its newest image is not noted"),
                }
            }
        });
    }

    /// The task that puts a layer's index on disk in one way.
    fn index(
        self: &Arc<Self>,
        key: &IndexKey,
        way: Way,
        remote: RemoteSnapshot,
        on_failure: OnFailure,
    ) -> Task<Arc<Layer>> {
        self.unreferenced.note(*key, Why::Pulled);
        let (inner, key) = (Arc::clone(self), *key);
        self.indexes.start(&key, on_failure, |progress| async move {
            let local = |error: &dyn fmt::Display| {
                GateError::new(Cause::Local, &remote.image_ref, &remote.layer_digest, error)
            };
            let (finder, noted) = (Arc::clone(&inner), remote.clone());
            let lookup = tokio::task::spawn_blocking(move || {
                // What is found must not be on its way out.
                let _change = finder.slots_change.lock();
                let served = &finder.served;
                served.blobs.note(&noted).map_err(|error| error.to_string())?;
                served.refresh(&key);
                match served.cache.layer(&key) {
                    Ok(layer) => Ok((layer, served.places(&key))),
                    // Damaged: it is built again from its source, and replaced.
                    Err(peel_cache::CacheError::Damaged { path, reason }) => {
                        tracing::warn!(path = %path.display(), reason, "index is damaged and read again");
                        Ok((None, served.places(&key)))
                    }
                    Err(error) => Err(error.to_string()),
                }
            });
            let (layer, places) =
                lookup.await.map_err(|error| local(&error))?.map_err(|error| local(&error))?;
            if let Some(layer) = layer {
                return Ok(layer);
            }
            let ztocs = inner.ztocs(&remote, &way);
            let wanted = resolve::Wanted {
                key,
                way,
                size: remote.layer_size,
                image: remote.image_ref.clone(),
                places,
                ztocs,
                whole_up_to: inner.config.now().fetch.whole_layer_bytes,
                watch: inner.served.fetcher.watch(),
            };
            wanted.resolve(Arc::clone(&inner.served), progress).await
        })
    }
}
