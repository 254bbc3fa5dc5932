//! Small lazy images, one per scenario: what one scenario holds back or breaks is nobody else's.

use anyhow::{Context as _, Result, ensure};

use super::{Images, Node};
use crate::{
    images::{
        HandMade, Image,
        small_app::{app_image, lazy_app_image},
    },
    proxy::Match,
};

/// A lazy image in the registry ([`lazy_app_image`]), and the layer that only it has.
#[derive(Debug)]
pub struct App {
    name: String,
    /// Digest of the topmost layer.
    pub top: String,
    top_size: u64,
}

impl App {
    /// Makes and pushes it.
    ///
    /// # Errors
    /// When it cannot be written, or the registry does not take it.
    pub fn push(images: &Images, variant: &str) -> Result<Self> {
        Self::push_image(images, variant, &lazy_app_image(variant)?)
    }

    /// The same in chunks of at most so many bytes.
    ///
    /// # Errors
    /// When it cannot be written, or the registry does not take it.
    pub fn push_in_chunks(images: &Images, variant: &str, chunk_size: usize) -> Result<Self> {
        let how = HandMade { chunk_size, ..HandMade::default() };
        Self::push_image(images, variant, &how.image(&app_image(variant)?)?)
    }

    /// The same without indexes: it is streamed.
    ///
    /// # Errors
    /// When it cannot be written, or the registry does not take it.
    pub fn push_plain(images: &Images, variant: &str) -> Result<Self> {
        Self::push_image(images, variant, &app_image(variant)?)
    }

    fn push_image(images: &Images, variant: &str, image: &Image) -> Result<Self> {
        let layout = image.write(&images.path().join(variant))?;
        let name = format!("{variant}:1");
        images.push(&layout, &name)?;
        let top = layout.manifest()?.layers.pop().context("an image without layers")?;
        Ok(Self { name, top: top.digest, top_size: top.size })
    }

    /// The reference by which `node` reaches it.
    #[must_use]
    pub fn image(&self, node: &Node) -> String {
        node.image(&self.name)
    }

    /// What Peel reads of the topmost layer.
    #[must_use]
    pub fn reads(&self) -> Match {
        Match::blob(&self.top).from_agent("peel")
    }

    /// Of that, the index, which is at the blob's end.
    #[must_use]
    pub fn index_reads(&self) -> Match {
        let end = self.top_size;
        self.reads().and(move |request| request.range.as_ref().is_some_and(|range| range.end == end))
    }

    /// Of that, the content.
    #[must_use]
    pub fn content_reads(&self) -> Match {
        let end = self.top_size;
        self.reads().and(move |request| request.range.as_ref().is_some_and(|range| range.end < end))
    }

    /// A container of it runs on `node`, says who it is, and is removed.
    ///
    /// # Errors
    /// As containerd says, or when it says something else.
    pub fn run(&self, node: &Node) -> Result<()> {
        let container = node.start_container(&self.image(node), &[])?;
        let said = node.exec(&container, &["cat", "/app/variant"])?;
        ensure!(format!("{}:1", said.text()) == self.name, "{}: {said:?}", self.name);
        node.remove(&container)
    }
}
