//! SOCI indexes as one more way to make a layer readable.
//!
//! Whether there is an index, and whether it has the layer, is known only once it was fetched; so where there may be one,
//! it is looked for before the layer is streamed.

use peel_layer::{ManifestDigest, soci::INDEX_DIGEST, stream::Compression};

use super::{Support, Way};

/// Where an image's SOCI index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SociAt {
    /// Version 2: the image's manifest has its digest.
    Annotation(ManifestDigest),
    /// Version 1: it names the image as its subject. Looked for only in repositories that are trusted
    /// (`registry.trust_unbound_index`).
    Referrer,
}

impl Support {
    /// With the ways over a SOCI index of the image, whose manifest has this annotation: for layers that would be
    /// streamed otherwise, and that SOCI can index.
    #[must_use]
    pub(super) fn or_soci(mut self, annotation: Option<&String>) -> Self {
        let [Way::Stream(_, Compression::Gzip | Compression::Unknown | Compression::None)] = &self.ways[..]
        else {
            return self;
        };
        let way = |at| Way::Soci { at, ztoc: None };
        self.ways.insert(0, way(SociAt::Referrer));
        match annotation.map(|text| text.parse()) {
            None => {}
            Some(Ok(index)) => {
                self.ways.insert(0, way(SociAt::Annotation(index)));
                "its SOCI index is named by the manifest".clone_into(&mut self.why);
            }
            Some(Err(error)) => self.why = format!("annotation {INDEX_DIGEST} of the manifest: {error}"),
        }
        self
    }
}
