//! An image as its manifest and config describe it, and what Peel can do with it.
//!
//! Both documents are in containerd's content store when the first Prepare of an image arrives, so the decision
//! needs no network. The manifest's digest is pinned by containerd, the config's by the manifest, and the layers'
//! digests, sizes, annotations and diff ids follow: everything Peel trusts hangs off them (design.md, P11).

mod soci;
mod support;
#[cfg(test)]
mod tests;
mod way;

use std::collections::{BTreeSet, HashMap};

use oci_spec::image::{ImageConfiguration, ImageManifest};
use peel_layer::{ChainId, DiffId, LayerDigest, digest::DigestError};

pub use soci::SociAt;
pub use support::{Support, support};
pub use way::Way;

/// A pair of documents that is not an image Peel can reason about. Such an image is ordinary: containerd decides
/// what to make of it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not JSON, or not of the expected form.
    #[error("{document} cannot be read: {source}")]
    Malformed {
        /// "manifest" or "config".
        document: &'static str,
        /// What the parser says.
        source: oci_spec::OciSpecError,
    },
    /// A digest of another algorithm, or no digest at all.
    #[error("{document} names an unusable digest: {source}")]
    Digest {
        /// "manifest" or "config".
        document: &'static str,
        /// What is wrong with it.
        source: DigestError,
    },
    /// Layers and diff ids do not pair up.
    #[error("manifest has {layers} layers, config has {diff_ids} diff ids")]
    Mismatch {
        /// Layers of the manifest.
        layers: usize,
        /// Diff ids of the config.
        diff_ids: usize,
    },
}

/// One layer: its descriptor, and its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// Digest of the blob.
    pub digest: LayerDigest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Media type as written in the manifest.
    pub media_type: String,
    /// Annotations of the descriptor.
    pub annotations: HashMap<String, String>,
    /// What the config says the uncompressed tar's digest is.
    pub diff_id: DiffId,
    /// The chain up to and with this layer.
    pub chain_id: ChainId,
}

/// An image: its layers, bottom first, and the directories that it declares as volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Bottom first.
    pub layers: Vec<ImageLayer>,
    /// Digest of its SOCI index, as an annotation of the manifest has it.
    pub soci_index: Option<String>,
    /// `VOLUME`s: containerd copies them when it creates a container.
    pub volumes: BTreeSet<String>,
}

/// The digest of the config that `manifest` names.
///
/// # Errors
/// [`ImageError`] when the manifest cannot be read.
pub fn config_digest(manifest: &[u8]) -> Result<String, ImageError> {
    Ok(parse_manifest(manifest)?.config().digest().to_string())
}

fn parse_manifest(manifest: &[u8]) -> Result<ImageManifest, ImageError> {
    ImageManifest::from_reader(manifest)
        .map_err(|source| ImageError::Malformed { document: "manifest", source })
}

impl Image {
    /// Puts manifest and config together. The caller has checked both against their digests.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn parse(manifest: &[u8], config: &[u8]) -> Result<Self, ImageError> {
        let manifest = parse_manifest(manifest)?;
        let config = ImageConfiguration::from_reader(config)
            .map_err(|source| ImageError::Malformed { document: "config", source })?;
        let (descriptors, diff_ids) = (manifest.layers(), config.rootfs().diff_ids());
        if descriptors.len() != diff_ids.len() {
            return Err(ImageError::Mismatch { layers: descriptors.len(), diff_ids: diff_ids.len() });
        }
        let mut layers: Vec<ImageLayer> = Vec::with_capacity(descriptors.len());
        for (descriptor, diff_id) in descriptors.iter().zip(diff_ids) {
            let diff_id: DiffId =
                diff_id.parse().map_err(|source| ImageError::Digest { document: "config", source })?;
            layers.push(ImageLayer {
                digest: descriptor
                    .digest()
                    .to_string()
                    .parse()
                    .map_err(|source| ImageError::Digest { document: "manifest", source })?,
                size: descriptor.size(),
                media_type: descriptor.media_type().to_string(),
                annotations: descriptor.annotations().clone().unwrap_or_default(),
                diff_id,
                chain_id: layers
                    .last()
                    .map_or_else(|| ChainId::first(diff_id), |below| below.chain_id.push(diff_id)),
            });
        }
        let volumes =
            config.config().as_ref().and_then(|config| config.volumes().clone()).unwrap_or_default();
        let annotations = manifest.annotations().as_ref();
        let soci_index = annotations.and_then(|all| all.get(peel_layer::soci::INDEX_DIGEST)).cloned();
        Ok(Self { layers, soci_index, volumes: volumes.into_iter().collect() })
    }

    /// How each layer is served, or why the image is ordinary: one layer that cannot be served makes it so.
    ///
    /// # Errors
    /// The reason.
    pub fn supports(&self) -> Result<Vec<Support>, String> {
        self.layers.iter().map(|layer| Ok(support(layer)?.or_soci(self.soci_index.as_ref()))).collect()
    }

    /// The position of the layer whose blob is `digest` and whose chain is `chain`: one blob may occur twice.
    #[must_use]
    pub fn position(&self, digest: &LayerDigest, chain: &ChainId) -> Option<usize> {
        self.layers.iter().position(|layer| layer.digest == *digest && layer.chain_id == *chain)
    }
}
