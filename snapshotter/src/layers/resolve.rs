//! From a blob to its index: what makes a layer readable.
//!
//! A layer may be made readable in several ways ([`Way`]); they are tried in order, and one that the image itself
//! rules out is followed by the next. A way that fails for want of the blob is not: the next would want it too.
//! Each way is a task of its own, by the key of the index that it leads to, so that images share it.

mod blob;
mod estargz;
mod small;
mod soci;
mod stream;
mod zstd_chunked;

use std::{fmt, sync::Arc};

use peel_cache::{Cache, Layer, PublishError};
use peel_layer::{
    IndexFiles, IndexKey,
    serve::{Watch, Work},
};

use super::{
    Inner,
    error::{Cause, GateError},
    gate::{gate_error, lost},
    progress::Progress,
    record,
    served::Served,
    sources::Place,
    task::OnFailure,
};
use crate::{image::Way, metastore::RemoteSnapshot};

use blob::Blob;
use soci::Found;
pub(super) use soci::{SociIndexes, Ztocs};

/// A layer that is readable.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    /// Its index is on disk.
    pub(super) layer: Arc<Layer>,
    /// Why it is served in the way that it is.
    pub(super) why: String,
}

impl Inner {
    /// Makes the layer readable in the first way that works.
    pub(super) async fn resolve(
        self: &Arc<Self>,
        remote: &RemoteSnapshot,
        on_failure: OnFailure,
    ) -> Result<Resolved, GateError> {
        let digest = remote.layer_digest.parse();
        let digest = digest.map_err(|error| gate_error(remote, Cause::Local, error))?;
        let (mut failed, mut said): (Option<GateError>, _) = (None, None);
        for way in record::ways_to_try(remote) {
            let why = way.why();
            let way = match self.find_index(remote, way, on_failure).await {
                Ok(Found::Way(way)) => way,
                Ok(Found::OnDisk(layer)) => return Ok(Resolved { layer, why: remote.why.clone() }),
                Ok(Found::NotAsked(reason)) => {
                    said = reason.or(said);
                    continue;
                }
                Err(error) if error.cause() == Cause::IndexRefused => {
                    failed = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(key) = way.key(digest) else { continue };
            let task = self.index(&key, way, remote.clone(), on_failure);
            match task.outcome().await.ok_or_else(|| lost(remote))? {
                Ok(layer) => {
                    // What the way itself says, what failed before it, why it was not asked for another, the image.
                    let failed = failed.as_ref().map(GateError::detail);
                    let why = why.or(failed).or(said).unwrap_or(&remote.why).to_owned();
                    return Ok(Resolved { layer, why });
                }
                Err(error) if error.cause() == Cause::IndexRefused => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failed.unwrap_or_else(|| {
            gate_error(remote, Cause::Local, "its record in the metadata names no way to serve it")
        }))
    }
}

/// A blob whose index is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Blob and description.
    pub(super) key: IndexKey,
    /// How its index is had.
    pub(super) way: Way,
    /// Bytes of the blob, from the manifest.
    pub(super) size: u64,
    /// For errors.
    pub(super) image: String,
    /// Where it can be read.
    pub(super) places: Vec<Place>,
    /// Where its ztoc can be read, if it has one.
    pub(super) ztocs: Ztocs,
    /// Blobs of up to so many bytes are fetched whole.
    pub(super) whole_up_to: u64,
    /// Knows what was the daemon's death before.
    pub(super) watch: Option<Arc<dyn Watch>>,
}

impl Wanted {
    fn error(&self, cause: Cause, detail: impl fmt::Display) -> GateError {
        GateError::new(cause, &self.image, self.key.layer, detail)
    }

    /// The layer, its index on disk: read, built and published.
    ///
    /// # Errors
    /// [`GateError`] of the last place that was asked.
    pub(super) async fn resolve(
        self,
        served: Arc<Served>,
        progress: Arc<Progress>,
    ) -> Result<Arc<Layer>, GateError> {
        if let Way::Stream(diff_id, compression) = self.way {
            return stream::layer(self, (diff_id, compression), served, progress).await;
        }
        let cache = Arc::clone(&served.cache);
        let mut last = self.error(Cause::Local, "no place is known that has it");
        for place in &self.places {
            match self.read_from(place, &cache, &progress).await {
                Ok(layer) => return Ok(layer),
                Err(error) => {
                    tracing::warn!(layer = %self.key.layer, image = self.image, %error, "index not read");
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn read_from(
        &self,
        place: &Place,
        cache: &Arc<Cache>,
        progress: &Progress,
    ) -> Result<Arc<Layer>, GateError> {
        let blob = Blob::open(self, place, progress).await?;
        let layer = match &self.way {
            Way::Soci { ztoc: Some(ztoc), .. } => soci::index(self, *ztoc, progress, cache).await?,
            Way::EStargz(_) | Way::Soci { .. } | Way::Stream(..) => estargz::index(&blob, cache).await?,
            Way::ZstdChunked { vouched, position } => {
                zstd_chunked::index(&blob, *vouched, position.as_deref(), cache).await?
            }
        };
        progress.add(1);
        if let Some(whole) = blob.into_whole() {
            small::fill(&layer, whole).await;
        }
        Ok(layer)
    }

    /// Publishes what `build` writes.
    async fn publish<T: Send + 'static, E: fmt::Display + Send + 'static>(
        &self,
        cache: &Arc<Cache>,
        build: impl FnOnce(&mut IndexFiles<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<Arc<Layer>, GateError> {
        let (cache, key) = (Arc::clone(cache), self.key);
        let work = || Work::Index(key.layer);
        let Ok(mark) = self.watch.as_ref().map(|watch| watch.execute(work()).ok_or(())).transpose() else {
            let cause = "the daemon died of building its index, several times";
            return Err(self.error(Cause::IndexRefused, cause));
        };
        let build = move || {
            cache.publish(&key, |files| {
                // What follows waits for the disk.
                let _mark = mark;
                build(files)
            })
        };
        match tokio::task::spawn_blocking(build).await {
            Ok(Ok(layer)) => Ok(layer),
            Ok(Err(PublishError::Content(error))) => Err(self.error(Cause::IndexRefused, error)),
            Ok(Err(PublishError::Cache(error))) => Err(self.error(Cause::Local, error)),
            Err(panic) => {
                Err(self.error(Cause::IndexRefused, format_args!("building its index failed: {panic}")))
            }
        }
    }
}
