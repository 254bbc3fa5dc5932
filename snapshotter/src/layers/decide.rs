//! The decision, once per image: all of its layers are Peel's, or none is.
//!
//! One ordinary layer makes containerd download it and all above (contract §2.4), so a mix helps nobody. The
//! decision is a function of the manifest alone, which every Prepare of the image names, and of what failed
//! lately ([`super::failures`]); no state of a pull is kept that a restart could lose. It also checks the chain:
//! nobody else does for a layer that is never unpacked, and an image whose config claims another image's diff ids
//! would replace that image's layers for everyone (contract §0 fact 5).

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;
use peel_layer::{ChainId, IndexKey, ManifestDigest};
use tonic::Status;

use crate::{
    content::ContentStore,
    image::{self, Image, Support},
    remote::{Decision, Extraction},
};

use super::failures::Failures;

/// Parsed images that are kept. A pull asks once per layer; a node pulls a handful of images at a time.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// An image, and how each of its layers is served, or why the image is ordinary.
#[derive(Debug)]
pub struct Judged {
    /// The image.
    pub image: Image,
    /// One per layer.
    pub verdict: Result<Vec<Support>, String>,
}

impl Judged {
    /// The indexes that the layers that Peel serves may get.
    pub fn keys(&self) -> impl Iterator<Item = IndexKey> {
        let supports = self.verdict.as_deref().unwrap_or_default();
        let layers = self.image.layers.iter().zip(supports);
        layers.flat_map(|(layer, support)| support.ways.iter().filter_map(|way| way.key(layer.digest)))
    }
}

/// Reads and judges images; remembers the last ones.
#[derive(Debug)]
pub struct Images {
    content: ContentStore,
    judged: Mutex<LruCache<ManifestDigest, Arc<Judged>>>,
}

impl Images {
    /// Reads from `content`.
    #[must_use]
    pub fn new(content: ContentStore) -> Self {
        Self { content, judged: Mutex::new(LruCache::new(KEPT)) }
    }

    /// The image of `manifest`, if it was judged lately.
    #[must_use]
    pub fn known(&self, manifest: &ManifestDigest) -> Option<Arc<Judged>> {
        self.judged.lock().get(manifest).cloned()
    }

    /// The image of `manifest`, from memory or from containerd's content store.
    ///
    /// # Errors
    /// Why it cannot be judged; the image is then ordinary.
    pub async fn get(&self, namespace: &str, manifest: &ManifestDigest) -> Result<Arc<Judged>, String> {
        if let Some(judged) = self.known(manifest) {
            return Ok(judged);
        }
        let read = |digest: String| async move { self.content.document(namespace, &digest).await };
        let document = read(manifest.to_string()).await.map_err(|error| format!("manifest: {error}"))?;
        let config = image::config_digest(&document).map_err(|error| error.to_string())?;
        let config = read(config).await.map_err(|error| format!("config: {error}"))?;
        let image = Image::parse(&document, &config).map_err(|error| error.to_string())?;
        let verdict = image.supports();
        let judged = Arc::new(Judged { image, verdict });
        self.judged.lock().put(*manifest, Arc::clone(&judged));
        Ok(judged)
    }

    /// Whose the layer of `extraction` is.
    pub async fn decide(
        &self,
        extraction: &Extraction,
        failures: &Failures,
    ) -> (Decision, Option<Arc<Judged>>) {
        let manifest = &extraction.manifest_digest;
        let judged = match self.get(&extraction.namespace, manifest).await {
            Ok(judged) => judged,
            Err(reason) => return (Decision::Ordinary { reason }, None),
        };
        let decision = match check_chain(&judged.image, extraction) {
            Err(refusal) => Decision::Refuse(refusal),
            Ok(position) => match (&judged.verdict, failures.recent(manifest)) {
                (Err(reason), _) => Decision::Ordinary { reason: reason.clone() },
                (Ok(_), Some(failure)) => {
                    failures.touch(manifest);
                    Decision::Ordinary { reason: format!("an earlier attempt failed: {failure}") }
                }
                (Ok(supports), None) => Decision::Ours(Box::new(super::record::record(
                    extraction,
                    &judged.image.layers[position],
                    &supports[position],
                ))),
            },
        };
        (decision, Some(judged))
    }
}

/// Position of the layer that is being prepared, if target and parent are what manifest and config say.
fn check_chain(image: &Image, extraction: &Extraction) -> Result<usize, Status> {
    let Extraction { target, layer_digest, manifest_digest, .. } = extraction;
    let position = image.position(layer_digest, target).ok_or_else(|| {
        Status::failed_precondition(format!(
            "peel: image {}: chain {target} of layer {layer_digest} does not follow from the diff ids of manifest \
             {manifest_digest}; the image is refused, since it would stand in for another image's layers",
            extraction.image_ref
        ))
    })?;
    let expected = position.checked_sub(1).map(|below| image.layers[below].chain_id);
    let parent = extraction.parent.as_ref().map(|parent| chain_of(&parent.key, parent.remote_chain()));
    match (expected, parent) {
        (None, None) => Ok(position),
        (Some(expected), Some(Some(parent))) if parent == expected => Ok(position),
        (expected, _) => Err(Status::failed_precondition(format!(
            "peel: image {}: the parent of chain {target} should be {}, but the snapshot below is {}",
            extraction.image_ref,
            expected.map_or_else(|| "none".to_owned(), |chain| chain.to_string()),
            extraction.parent.as_ref().map_or("none", |parent| parent.key.as_str()),
        ))),
    }
}

/// The chain of a committed snapshot: recorded for Peel's own; else the end of the name that containerd gives its
/// unpacked layers, `<namespace>/<number>/<chain id>` (contract §1.2).
fn chain_of(key: &str, recorded: Option<ChainId>) -> Option<ChainId> {
    recorded.or_else(|| key.splitn(3, '/').nth(2)?.parse().ok())
}

#[cfg(test)]
mod tests;
