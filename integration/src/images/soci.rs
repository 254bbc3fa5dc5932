//! Images with a SOCI index: plain gzip layers, a ztoc for each, and the index, in either version.

use std::path::Path;

use anyhow::{Context as _, Result};
use peel_layer::soci::{INDEX_DIGEST, V1, V2};
use peel_layer::testing::{SociLayer, gzip, tar};
use peel_layer::{DiffId, ManifestDigest};
use serde_json::json;

use super::hand_made::tar_entries;
use super::image::Image;
use super::layer::Layer;
use super::layout::{Descriptor, Layout, MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, Manifest};
use super::push::{Destination, push, push_document};

/// Annotation of a ztoc in the index: its layer.
const LAYER_DIGEST: &str = "com.amazon.soci.image-layer-digest";
const ZTOC: &str = "application/octet-stream";

/// Uncompressed bytes of a span: small, so that small layers have several.
const SPAN: u64 = 256 << 10;

/// An image, the ztocs of its layers, and where it goes.
#[derive(Debug)]
pub struct SociImage {
    layout: Layout,
    ztocs: Vec<Descriptor>,
}

impl SociImage {
    /// The same image with layers that SOCI has indexed; `change` may spoil what it likes of each, from the lowest.
    ///
    /// # Errors
    /// When an entry cannot be written, or the directory.
    pub fn write(
        image: &Image,
        directory: &Path,
        mut change: impl FnMut(usize, &mut SociLayer),
    ) -> Result<Self> {
        let (mut layers, mut indexed) = (Vec::new(), Vec::new());
        for (number, layer) in image.layers.iter().enumerate() {
            let entries = tar_entries(layer.entries())?;
            let tar = tar(&entries);
            let mut soci = SociLayer::gzip(gzip(&tar), &entries, SPAN);
            change(number, &mut soci);
            layers.push(Layer::blob(soci.blob.clone(), DiffId::of(&tar).to_string()));
            indexed.push(soci);
        }
        let layout = Image { layers, config: image.config.clone() }.write(directory)?;
        let descriptors = layout.manifest()?.layers;
        let ztoc = |(soci, layer): (&SociLayer, &Descriptor)| {
            let mut ztoc = layout.add_blob(ZTOC, &soci.ztoc.to_bytes())?;
            ztoc.annotations.insert(LAYER_DIGEST.to_owned(), layer.digest.clone());
            Ok(ztoc)
        };
        let ztocs = indexed.iter().zip(&descriptors).map(ztoc).collect::<Result<_>>()?;
        Ok(Self { layout, ztocs })
    }

    /// The image without a word of the index.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The ztocs of all layers, from the lowest.
    #[must_use]
    pub fn ztocs(&self) -> &[Descriptor] {
        &self.ztocs
    }

    /// Takes the ztoc of a layer out of the index.
    pub fn forget(&mut self, layer: usize) {
        self.ztocs.remove(layer);
    }

    /// The image with its index bound to it (version 2), in `directory`; `with_index`: the index is pushed too.
    ///
    /// # Errors
    /// As [`push`].
    pub fn push_v2(&self, destination: &Destination, directory: &Path, with_index: bool) -> Result<Layout> {
        let (document, digest) = self.index(V2, None)?;
        let image = self.layout.derive(directory, |manifest| {
            manifest.annotations.insert(INDEX_DIGEST.to_owned(), digest.clone());
        })?;
        push(&image, destination)?;
        if with_index {
            self.push_index(destination, document, digest)?;
        }
        Ok(image)
    }

    /// The image, with an index that refers to it (version 1), listed under the fallback tag if `tagged`. Gives the list
    /// of referrers.
    ///
    /// # Errors
    /// As [`push`].
    pub fn push_v1(&self, destination: &Destination, tagged: bool) -> Result<String> {
        let pushed = push(&self.layout, destination)?;
        let (document, digest) = self.index(V1, Some(self.layout.manifest_descriptor()?))?;
        let size = document.len();
        self.push_index(destination, document, digest.clone())?;
        let entry = json!({
            "mediaType": MEDIA_TYPE_MANIFEST, "digest": digest, "size": size, "artifactType": V1,
        });
        let list = json!({ "schemaVersion": 2, "mediaType": MEDIA_TYPE_INDEX, "manifests": [entry] });
        let list = serde_json::to_string(&list)?;
        if tagged {
            let tag = pushed.manifest_digest.replace(':', "-");
            let destination = Destination { tag, ..destination.clone() };
            push_document(&destination, MEDIA_TYPE_INDEX, list.clone().into(), &self.layout, &[])?;
        }
        Ok(list)
    }

    fn index(&self, kind: &str, subject: Option<Descriptor>) -> Result<(Vec<u8>, String)> {
        let index = Manifest {
            schema_version: 2,
            media_type: MEDIA_TYPE_MANIFEST.to_owned(),
            config: Descriptor { media_type: kind.to_owned(), ..self.layout.add_blob(kind, b"{}")? },
            layers: self.ztocs.clone(),
            subject,
            annotations: std::collections::BTreeMap::default(),
        };
        let document = serde_json::to_vec(&index)?;
        let digest = ManifestDigest::of(&document).to_string();
        Ok((document, digest))
    }

    fn push_index(&self, destination: &Destination, document: Vec<u8>, digest: String) -> Result<()> {
        let config = self.layout.add_blob(V2, b"{}")?;
        let blobs: Vec<_> = self.ztocs.iter().cloned().chain([config]).collect();
        let destination = Destination { tag: digest, ..destination.clone() };
        push_document(&destination, MEDIA_TYPE_MANIFEST, document, &self.layout, &blobs)
            .context("pushing the SOCI index")
    }
}
