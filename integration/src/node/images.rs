//! The registry of a node, or of several, with the folder that it lives in.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Result;

use crate::{
    guard::TestDir,
    images::{Destination, Entry, Image, Layer, Layout, MEDIA_TYPE_NONDISTRIBUTABLE, push, small_app},
    registry::Registry,
};

/// Name and tag of the sandbox image.
const SANDBOX: &str = "peel/sandbox:1";

/// A registry that holds the sandbox image and what a test pushes.
#[derive(Debug)]
pub struct Images {
    registry: Registry,
    dir: TestDir,
}

impl Images {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not come up, or the sandbox image cannot be made.
    pub fn start() -> Result<Arc<Self>> {
        let dir = TestDir::new()?;
        let registry = Registry::start(&dir.make("registry")?)?;
        let images = Self { registry, dir };
        images.push(&sandbox()?.write(&images.dir.make("sandbox")?)?, SANDBOX)?;
        Ok(Arc::new(images))
    }

    /// Pushes an image as `name`, `repository:tag`; gives its manifest's digest. See [`Node::image`](super::Node::image)
    /// for the reference that a node pulls.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub fn push(&self, layout: &Layout, name: &str) -> Result<String> {
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        let destination = Destination::new(self.address().to_string(), repository, tag);
        Ok(push(layout, &destination)?.manifest_digest)
    }

    /// Makes a plain image and pushes it; gives its manifest's digest.
    ///
    /// # Errors
    /// When it cannot be written, or the registry does not take it.
    pub fn push_image(&self, image: &Image, name: &str) -> Result<String> {
        self.push(&image.write(&self.dir.make(&name.replace([':', '/'], "-"))?)?, name)
    }

    /// The sandbox image, straight from the registry.
    #[must_use]
    pub fn sandbox_reference(&self) -> String {
        format!("{}/{SANDBOX}", self.address())
    }

    /// Where the registry listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.registry.address()
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A folder for images in the making.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// One layer that no other image has: else a node would already hold the base of the images under test. Of a type that
/// Peel leaves to containerd, so that its layers are not among those that a test looks at.
fn sandbox() -> Result<Image> {
    let mut image = small_app::sandbox_image()?;
    let mut entries: Vec<Entry> = image.layers.iter().flat_map(Layer::entries).cloned().collect();
    entries.push(Entry::file("etc/sandbox", ""));
    image.layers = vec![Layer::gzip(entries).media_type(MEDIA_TYPE_NONDISTRIBUTABLE)];
    Ok(image)
}
