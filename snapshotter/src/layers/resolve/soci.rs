//! SOCI: an index beside the image names a ztoc for each layer.
//!
//! ```text
//! manifest's annotation (version 2) ──▶ index ──▶ ztoc of the layer ──▶ tree image, chunk table, seek index
//! referrers of the manifest (version 1; only where the repository is trusted, docs/trust.md) ─┘
//! ```
//!
//! The index is fetched once for all layers of an image. That there is none, or none that can be used, rules this way
//! out, and the next is tried; a registry that does not answer does not: the layer would not come from it either.

mod indexes;

use std::sync::Arc;

use peel_cache::{Cache, Layer};
use peel_layer::{
    BlobOffset, Format, IndexFiles, IndexKey, LayerDigest, Limits,
    soci::{ZtocDescriptor, build_index},
};
use tokio::sync::Semaphore;

use super::{Wanted, blob::Blob};
use crate::{
    image::{SociAt, Way},
    layers::{
        Inner,
        blobs::BlobSource,
        error::{Cause, GateError},
        gate::gate_error,
        progress::Progress,
        reap::Why,
        sources::Place,
        task::OnFailure,
    },
    metastore::RemoteSnapshot,
};

pub(in crate::layers) use indexes::SociIndexes;

/// Bytes of ztocs that are in memory at once.
const ROOM: u64 = 256 << 20;
/// Bytes that one permit of that room stands for.
const GRAIN: u64 = 1 << 20;

/// Reads the ztoc, checks it against the digest in the SOCI index, and publishes the layer's index.
pub(super) async fn index(
    wanted: &Wanted,
    ztoc: ZtocDescriptor,
    progress: &Progress,
    cache: &Arc<Cache>,
) -> Result<Arc<Layer>, GateError> {
    let limits = Limits::default();
    if ztoc.size > limits.ztoc {
        let detail = format_args!("its ztoc has {} bytes, more than {} are refused", ztoc.size, limits.ztoc);
        return Err(wanted.error(Cause::IndexRefused, detail));
    }
    let permits = u32::try_from(ztoc.size.div_ceil(GRAIN)).unwrap_or(u32::MAX);
    let room = wanted.ztocs.room.0.acquire_many(permits).await;
    let _room = room.map_err(|error| wanted.error(Cause::Local, error))?;
    let mut last = wanted.error(Cause::Local, "no place is known that has its ztoc");
    for place in &wanted.ztocs.places {
        match Blob::beside(wanted, place, progress).read(BlobOffset(0)..BlobOffset(ztoc.size)).await {
            Ok(bytes) => {
                let (layer, size) = (wanted.key.layer, wanted.size);
                let build = move |files: &mut IndexFiles<'_>| {
                    build_index(layer, size, &bytes, ztoc.digest, &Limits::default(), files)
                };
                return wanted.publish(cache, build).await;
            }
            // An index that names what is not there cannot be used.
            Err(error) if error.cause() == Cause::Missing => {
                last = wanted.error(Cause::IndexRefused, error.detail());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What became of a way.
pub(super) enum Found {
    /// It leads to an index that is to be made.
    Way(Way),
    /// The index that it led to before is on disk.
    OnDisk(Arc<Layer>),
    /// It is not to be tried; why, if that is worth a word.
    NotAsked(Option<&'static str>),
}

impl Inner {
    /// Finds out where a way over a SOCI index leads; others are as they are.
    ///
    /// # Errors
    /// [`Cause::IndexRefused`]: nowhere. Others end the attempt.
    pub(super) async fn find_index(
        self: &Arc<Self>,
        remote: &RemoteSnapshot,
        way: Way,
        on_failure: OnFailure,
    ) -> Result<Found, GateError> {
        let Way::Soci { at, ztoc: None } = way else { return Ok(Found::Way(way)) };
        if at == SociAt::Referrer && !self.trusts_referrers(&remote.image_ref) {
            return Ok(Found::NotAsked(None));
        }
        // One request has all of it, and proves it.
        if remote.layer_size <= self.config.now().fetch.whole_layer_bytes {
            return Ok(Found::NotAsked(Some("it is small, and fetched whole")));
        }
        // A layer that was readable once needs no network.
        if let Some(layer) = self.soci_on_disk(remote).await? {
            return Ok(Found::OnDisk(layer));
        }
        let ztoc = self.soci.ztoc(&self.served.registry(), remote, at, on_failure).await?;
        Ok(Found::Way(Way::Soci { at, ztoc: Some(ztoc) }))
    }

    /// Whether indexes that no image vouches for are believed there.
    fn trusts_referrers(&self, image: &str) -> bool {
        image.parse().is_ok_and(|image| self.config.now().registry.trust_unbound_index.covers(&image))
    }

    async fn soci_on_disk(
        self: &Arc<Self>,
        remote: &RemoteSnapshot,
    ) -> Result<Option<Arc<Layer>>, GateError> {
        let Ok(described_by) = remote.described_by.parse() else { return Ok(None) };
        let layer = remote.layer_digest.parse().map_err(|error| gate_error(remote, Cause::Local, error))?;
        let (inner, key) = (Arc::clone(self), IndexKey { layer, described_by });
        let look = move || {
            // What is found must not be on its way out.
            let _change = inner.slots_change.lock();
            inner.unreferenced.note(key, Why::Pulled);
            inner.served.cache.layer(&key).ok().flatten()
        };
        let found = tokio::task::spawn_blocking(look).await;
        let found = found.map_err(|error| gate_error(remote, Cause::Local, error))?;
        Ok(found.filter(|layer| layer.index().format() == Format::Soci))
    }

    /// Where the ztoc of a way is read.
    pub(in crate::layers) fn ztocs(&self, remote: &RemoteSnapshot, way: &Way) -> Ztocs {
        let Way::Soci { ztoc: Some(ztoc), .. } = way else { return self.soci.ztocs(Vec::new()) };
        let digest = LayerDigest::from_bytes(*ztoc.digest.as_bytes());
        let source = BlobSource {
            image_ref: remote.image_ref.clone(),
            manifest_digest: remote.manifest_digest.clone(),
            size: ztoc.size,
            media_type: String::new(),
        };
        self.soci.ztocs(Place::all(&self.served.registry(), &digest, None, &[source]))
    }
}

/// Where ztocs are read, and the memory that they share.
#[derive(Debug)]
pub(in crate::layers) struct Ztocs {
    places: Vec<Place>,
    room: Room,
}

/// Memory for ztocs.
#[derive(Debug, Clone)]
struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(ROOM / GRAIN).unwrap_or(1))))
    }
}
