//! A node's worth of layers: what the daemon's memory is measured with.

use anyhow::Result;

use crate::images::{Entry, HandMade, Image, Layer, small_app};
use crate::node::Images;

/// Images; one alone cannot have so many layers.
pub(super) const IMAGES: u32 = 2;
/// Layers of each, besides the one that it starts from.
pub(super) const LAYERS: u32 = 100;
/// Files of each layer: a million in all.
pub(super) const FILES: u32 = 5_000;

/// Makes an image and pushes it; gives its name.
pub(super) fn push(images: &Images, number: u32) -> Result<String> {
    // Small files share members, as every writer packs them; else a million gzip streams were to be written.
    let format = HandMade { pack: 1 << 20, ..HandMade::default() };
    let base = small_app::sandbox_image()?;
    let entries: Vec<Entry> = base.layers.iter().flat_map(Layer::entries).cloned().collect();
    let mut layers = vec![format.estargz(&entries)?];
    for layer in 0..LAYERS {
        layers.push(format.estargz(&files(&format!("image{number}/layer{layer}")))?);
    }
    let name = format!("bench/many:{number}");
    images.push_image(&Image { layers, config: base.config }, &name)?;
    Ok(name)
}

fn files(directory: &str) -> Vec<Entry> {
    let parent = directory.split('/').next().unwrap_or_default();
    let mut entries = vec![Entry::directory(parent), Entry::directory(directory)];
    entries.extend((0..FILES).map(|file| {
        let path = format!("{directory}/file-{file:05}");
        Entry::file(&path, path.clone())
    }));
    entries
}
