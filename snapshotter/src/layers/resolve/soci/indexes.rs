//! The SOCI index of an image: found once for all of its layers, and kept while they are pulled.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;
use peel_layer::{
    IndexKey, ManifestDigest,
    soci::{Binding, SociIndex, V1, ZtocDescriptor},
};
use peel_registry::{Client, Digest, ErrorKind, ImageReference, RegistryError};

use super::{Room, Ztocs};
use crate::{
    image::SociAt,
    layers::{
        error::{Cause, GateError},
        gate::gate_error,
        sources::{self, Place},
        task::{OnFailure, State, Task, Tasks},
    },
    metastore::RemoteSnapshot,
};

/// Indexes that are kept. A pull asks once per layer; a node pulls a handful of images at a time.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Referrers that are looked at: whoever pushes an index anew leaves the old one in the list.
const CANDIDATES: usize = 4;

/// Which index: the same manifest may have another one in another repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    image: String,
    manifest: String,
    at: SociAt,
}

/// The SOCI indexes of the images that are pulled.
#[derive(Debug)]
pub(in crate::layers) struct SociIndexes {
    tasks: Tasks<Key, Arc<SociIndex>>,
    /// What of them is kept.
    recent: Mutex<LruCache<Key, ()>>,
    /// Shared by all that read ztocs.
    room: Room,
}

impl Default for SociIndexes {
    fn default() -> Self {
        let recent = Mutex::new(LruCache::new(KEPT));
        Self { tasks: Tasks::default(), recent, room: Room::default() }
    }
}

impl SociIndexes {
    /// The ztoc of a layer.
    ///
    /// # Errors
    /// [`Cause::IndexRefused`] when there is no usable index, or no ztoc of the layer in it.
    pub(super) async fn ztoc(
        &self,
        client: &Client,
        remote: &RemoteSnapshot,
        at: SociAt,
        on_failure: OnFailure,
    ) -> Result<ZtocDescriptor, GateError> {
        let task = self.index(client, remote, at, on_failure);
        let lost = || gate_error(remote, Cause::Local, "reading its SOCI index failed; see the daemon's log");
        let index = task.outcome().await.ok_or_else(lost)?;
        // The image's first layer may have asked; every error names its own.
        let index = index.map_err(|error| gate_error(remote, error.cause(), error.detail()))?;
        let layer = remote.layer_digest.parse().map_err(|error| gate_error(remote, Cause::Local, error))?;
        index.ztoc(&layer).ok_or_else(|| {
            gate_error(remote, Cause::IndexRefused, "the image's SOCI index has no ztoc of the layer")
        })
    }

    fn index(
        &self,
        client: &Client,
        remote: &RemoteSnapshot,
        at: SociAt,
        on_failure: OnFailure,
    ) -> Task<Arc<SociIndex>> {
        let (image, manifest) = (remote.image_ref.clone(), remote.manifest_digest.clone());
        let key = Key { image, manifest, at };
        if let Some((old, ())) = self.recent.lock().push(key.clone(), ())
            && old != key
        {
            self.tasks.forget(&old);
        }
        let (client, remote) = (client.clone(), remote.clone());
        self.tasks.start(&key, on_failure, |_| async move {
            let found = find(&client, &remote, at).await;
            let found = found.map_err(|(cause, detail)| gate_error(&remote, cause, detail));
            found.inspect_err(|error| tracing::info!(%error, "no SOCI index")).map(Arc::new)
        })
    }

    /// Where a ztoc is read.
    pub(super) fn ztocs(&self, places: Vec<Place>) -> Ztocs {
        Ztocs { places, room: self.room.clone() }
    }

    /// The indexes that the ztocs of an image lead to, as far as they are known.
    pub(in crate::layers) fn keys(&self, manifest: &ManifestDigest) -> Vec<IndexKey> {
        let manifest = manifest.to_string();
        let known: Vec<_> = self.recent.lock().iter().map(|(key, ())| key.clone()).collect();
        let tasks = known.iter().filter(|key| key.manifest == manifest).filter_map(|key| self.tasks.get(key));
        let indexes = tasks.filter_map(|task| match task.state() {
            State::Done(index) => Some(index),
            _ => None,
        });
        indexes.flat_map(|index| index.keys().collect::<Vec<_>>()).collect()
    }
}

/// The index of an image, wherever it is.
async fn find(client: &Client, remote: &RemoteSnapshot, at: SociAt) -> Result<SociIndex, (Cause, String)> {
    let reference: ImageReference =
        remote.image_ref.parse().map_err(|error| refused(format!("SOCI index: {error}")))?;
    let manifest: ManifestDigest =
        remote.manifest_digest.parse().map_err(|error| refused(format!("SOCI index: {error}")))?;
    match at {
        SociAt::Annotation(index) => {
            let digest = Digest::sha256(index.as_bytes());
            read(client, &reference, digest, Binding::Annotation).await
        }
        SociAt::Referrer => {
            let subject = Digest::sha256(manifest.as_bytes());
            let found = client.referrers(&reference, &subject, V1).await.map_err(failed)?;
            let mut last = refused("no SOCI index refers to the image".to_owned());
            for referrer in found.into_iter().take(CANDIDATES) {
                match read(client, &reference, referrer.digest, Binding::Subject(manifest)).await {
                    Err(error) if error.0 == Cause::IndexRefused => last = error,
                    outcome => return outcome,
                }
            }
            Err(last)
        }
    }
}

async fn read(
    client: &Client,
    reference: &ImageReference,
    digest: Digest,
    binding: Binding,
) -> Result<SociIndex, (Cause, String)> {
    let document = client.manifest(&reference.with_digest(digest.clone())).await.map_err(failed)?;
    SociIndex::parse(&document.bytes, binding).map_err(|error| refused(format!("{digest}: {error}")))
}

fn refused(detail: String) -> (Cause, String) {
    (Cause::IndexRefused, detail)
}

/// What the layer itself would meet too ends the attempt; all else only says that there is no index.
fn failed(error: RegistryError) -> (Cause, String) {
    let fatal = error.retryable() || matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Tls);
    let cause = if fatal { sources::cause(error.kind()) } else { Cause::IndexRefused };
    (cause, format!("SOCI index: {error}"))
}
