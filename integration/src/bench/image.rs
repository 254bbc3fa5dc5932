//! The image that the workloads run on: the web application's Debian and Python, 10,000 small files, one of 512 MiB.
//!
//! Only the last layer is made for the benchmark; the others are a real image, already made for the demo.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::images::{Content, EStargz, Entry, Layer, Layout, artefact, web_app::web_app_image};

/// Folder of the benchmark's own files, below the root.
pub(super) const DIRECTORY: &str = "bench";
/// The 512 MiB file, in [`DIRECTORY`].
pub(super) const BIG: &str = "big";
/// Its length in bytes.
pub(super) const BIG_LENGTH: u64 = 512 << 20;
/// How many small files there are, a hundred in each of a hundred folders.
pub(super) const SMALL_FILES: u64 = 10_000;

/// Path of a small file below the root.
pub(super) fn small_file(number: u64) -> String {
    format!("{DIRECTORY}/small/{:02}/{number:05}", number / 100)
}

/// 0.2 to 8 KiB, as the sizes of scripts and modules are.
fn small_length(number: u64) -> u64 {
    200 + number.wrapping_mul(2_654_435_761) % 7_992
}

/// The image with gzip layers, and as eStargz.
pub(super) fn images() -> Result<(Layout, Layout)> {
    let plain = artefact("bench-1", build).map(Layout::open)?;
    let lazy = EStargz::default().convert(&plain)?;
    Ok((plain, lazy))
}

fn build(directory: &Path) -> Result<()> {
    let base = web_app_image()?;
    let layout = base.derive(directory, |_| {})?;
    let mut manifest = base.manifest()?;
    let added = Layer::gzip(entries()).write(&layout)?;
    let mut config: Value = serde_json::from_slice(&fs::read(base.blob_path(&manifest.config.digest))?)?;
    config["rootfs"]["diff_ids"]
        .as_array_mut()
        .context("the base image's config has no diff ids")?
        .push(added.diff_id.into());
    manifest.layers.push(added.descriptor);
    manifest.config = layout.add_blob(&manifest.config.media_type, &serde_json::to_vec(&config)?)?;
    layout.set_manifest(&manifest).map(drop)
}

fn entries() -> Vec<Entry> {
    let mut entries = vec![Entry::directory(DIRECTORY), Entry::directory(format!("{DIRECTORY}/small"))];
    for number in 0..SMALL_FILES {
        if number % 100 == 0 {
            entries.push(Entry::directory(format!("{DIRECTORY}/small/{:02}", number / 100)));
        }
        let content = Content::Noise { seed: number + 1, length: small_length(number) };
        entries.push(Entry::file(small_file(number), content));
    }
    let big = Content::Noise { seed: 1 << 40, length: BIG_LENGTH };
    entries.push(Entry::file(format!("{DIRECTORY}/{BIG}"), big));
    entries
}
