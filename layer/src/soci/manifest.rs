//! A SOCI index: an OCI image manifest that lists a ztoc for each layer (layer-formats.md, B.6).

use std::collections::HashMap;

use serde::Deserialize;

use crate::{IndexKey, LayerDigest, ManifestDigest, TocDigest};

/// Annotation of an image manifest with the digest of its SOCI index, version 2.
pub const INDEX_DIGEST: &str = "com.amazon.soci.index-digest";
/// Type of an index that is found as a referrer, version 1: of the config, and of the artifact.
pub const V1: &str = "application/vnd.amazon.soci.index.v1+json";
/// Type of an index that the image manifest names, version 2.
pub const V2: &str = "application/vnd.amazon.soci.index.v2+json";
/// Annotation of a ztoc: which layer it is of.
const LAYER_DIGEST: &str = "com.amazon.soci.image-layer-digest";
/// Media type of a ztoc. Others (prefetch lists) are passed over.
const ZTOC: &str = "application/octet-stream";

/// Which index is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Version 2: the image manifest names the index by its digest, so the image's author vouches for it.
    Annotation,
    /// Version 1: the index names the image. Whoever may push to the repository can make one.
    Subject(ManifestDigest),
}

/// A ztoc, as the index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZtocDescriptor {
    /// Of its bytes.
    pub digest: TocDigest,
    /// How many they are.
    pub size: u64,
}

/// The ztocs of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SociIndex {
    ztocs: HashMap<LayerDigest, ZtocDescriptor>,
}

/// Why a document is not the SOCI index that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SociIndexError {
    /// Not JSON, or not of a manifest's shape.
    #[error("SOCI index is not a manifest: {0}")]
    Json(String),
    /// Something else, or of the other version.
    #[error("manifest is not a SOCI index of type {expected}, its config has type {found:?}")]
    Type {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// It was pushed for another image.
    #[error("SOCI index is of another image: its subject is {0:?}")]
    Subject(String),
    /// A digest that is none, or not sha256.
    #[error("SOCI index: {0}")]
    Digest(#[from] crate::digest::DigestError),
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

impl SociIndex {
    /// Reads an index, which the caller has compared with the digest that it was asked by. Of several ztocs for one
    /// layer the first counts.
    ///
    /// # Errors
    /// [`SociIndexError`]: it is no index of this version and image.
    pub fn parse(document: &[u8], binding: Binding) -> Result<Self, SociIndexError> {
        let manifest: Manifest =
            serde_json::from_slice(document).map_err(|error| SociIndexError::Json(error.to_string()))?;
        let expected = match binding {
            Binding::Annotation => V2,
            Binding::Subject(_) => V1,
        };
        let cut = |text: String| text.chars().take(100).collect();
        if manifest.config.media_type != expected {
            return Err(SociIndexError::Type { expected, found: cut(manifest.config.media_type) });
        }
        if let Binding::Subject(image) = binding {
            let subject = manifest.subject.map(|subject| subject.digest).unwrap_or_default();
            if subject.parse() != Ok(image) {
                return Err(SociIndexError::Subject(cut(subject)));
            }
        }
        let mut ztocs = HashMap::new();
        for ztoc in manifest.layers.iter().filter(|it| it.media_type == ZTOC) {
            let Some(layer) = ztoc.annotations.get(LAYER_DIGEST) else { continue };
            let descriptor = ZtocDescriptor { digest: ztoc.digest.parse()?, size: ztoc.size };
            ztocs.entry(layer.parse()?).or_insert(descriptor);
        }
        Ok(Self { ztocs })
    }

    /// The ztoc of a layer, if it has one: writers leave small layers out, and those that they do not understand.
    #[must_use]
    pub fn ztoc(&self, layer: &LayerDigest) -> Option<ZtocDescriptor> {
        self.ztocs.get(layer).copied()
    }

    /// The indexes that the ztocs lead to.
    pub fn keys(&self) -> impl Iterator<Item = IndexKey> {
        self.ztocs.iter().map(|(layer, ztoc)| IndexKey { layer: *layer, described_by: ztoc.digest })
    }

    /// Number of layers that have a ztoc.
    #[must_use]
    pub fn ztoc_count(&self) -> usize {
        self.ztocs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: &str) -> String {
        LayerDigest::of(of.as_bytes()).to_string()
    }

    fn index(kind: &str, subject: Option<&str>) -> String {
        let subject = subject.map_or_else(String::new, |it| {
            format!(",\"subject\":{{\"mediaType\":\"x\",\"digest\":\"{it}\",\"size\":1}}")
        });
        let ztoc = |ztoc: &str, media: &str| {
            format!(
                "{{\"mediaType\":\"{media}\",\"digest\":\"{}\",\"size\":7,\"annotations\":{{\"{LAYER_DIGEST}\":\"{}\"}}}}",
                digest(ztoc),
                digest("layer")
            )
        };
        format!(
            "{{\"config\":{{\"mediaType\":\"{kind}\",\"digest\":\"{}\",\"size\":2}},\"layers\":[{},{},{}]{subject}}}",
            digest("{}"),
            ztoc("prefetch", "application/vnd.amazon.soci.prefetch.v1+json"),
            ztoc("ztoc", ZTOC),
            ztoc("second", ZTOC),
        )
    }

    #[test]
    fn ztocs_by_layer() {
        let index = SociIndex::parse(index(V2, None).as_bytes(), Binding::Annotation).unwrap();
        let expected = ZtocDescriptor { digest: TocDigest::of(b"ztoc"), size: 7 };
        assert_eq!(index.ztoc(&LayerDigest::of(b"layer")), Some(expected));
        assert_eq!(index.ztoc(&LayerDigest::of(b"other")), None);
        assert_eq!(index.ztoc_count(), 1);
    }

    #[test]
    fn other_version_and_other_image() {
        let (image, other) = (ManifestDigest::of(b"image"), ManifestDigest::of(b"other"));
        let parse = |document: String, binding| SociIndex::parse(document.as_bytes(), binding).map(drop);
        assert_eq!(parse(index(V1, Some(&image.to_string())), Binding::Subject(image)), Ok(()));
        for subject in [Some(other.to_string()), None] {
            let refused = parse(index(V1, subject.as_deref()), Binding::Subject(image));
            assert!(matches!(refused, Err(SociIndexError::Subject(_))), "{refused:?}");
        }
        for (kind, binding) in
            [(V1, Binding::Annotation), (V2, Binding::Subject(image)), ("x", Binding::Annotation)]
        {
            assert!(matches!(parse(index(kind, None), binding), Err(SociIndexError::Type { .. })), "{kind}");
        }
        assert!(matches!(
            parse("{\"blobs\":[]}".to_owned(), Binding::Annotation),
            Err(SociIndexError::Json(_))
        ));
        let md5 = index(V2, None).replace(&digest("ztoc"), "md5:1");
        assert!(matches!(parse(md5, Binding::Annotation), Err(SociIndexError::Digest(_))));
    }
}
