//! Rows `update.*`: what a node fetches of an image's next version, that it has the last one of.
//!
//! ```text
//!  last version: 3 gzip layers, streamed               file n in layer n % 3     cut every MiB
//!  next version: 2 eStargz or zstd:chunked layers      file n in layer n % 2     cut every 4 MiB
//! ```
//!
//! One file in ten is new, of every size: whole below both cuts, below one of them, and above both. All of the next version
//! is read. Every byte of its layers that the registry sends is counted: below the layer's index as content, whatever
//! it was fetched for, from there on as index. Both are compared with the bytes of the new files, which do not compress.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result};
use peel_layer::{Limits, estargz, zstd_chunked};

use super::{
    Options, machine,
    nodes::perform,
    report::{Measured, Report},
    samples::Samples,
    workload::Workload,
};
use crate::{
    containerd::Version,
    images::{Content, Descriptor, EStargz, Entry, HandMade, Image, Layer, Layout, small_app},
    node::{Images, Node},
    proxy::Match,
};

const LAST: &str = "bench/update:1";

/// Content, goal of design.md's P9.
const GOAL: f64 = 1.1;

/// The formats of the next version, and their rows: content and index.
const FORMATS: [(Format, [&str; 2]); 2] = [
    (Format::EStargz, ["update.bytes_ratio", "update.index_ratio"]),
    (Format::ZstdChunked, ["update.bytes_ratio.zstd_chunked", "update.index_ratio.zstd_chunked"]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    EStargz,
    ZstdChunked,
}

impl Format {
    /// What the next version is called.
    fn image(self) -> &'static str {
        match self {
            Self::EStargz => "bench/update:2-estargz",
            Self::ZstdChunked => "bench/update:2-zstd-chunked",
        }
    }

    /// Where the index of a layer begins.
    fn index_start(self, blob: &[u8]) -> Result<u64> {
        let (size, limits) = (blob.len() as u64, Limits::default());
        let range = match self {
            Self::EStargz => estargz::footer(blob, size, &limits)?.range(),
            Self::ZstdChunked => zstd_chunked::footer(blob, size, &limits)?.range(),
        };
        Ok(range.start.0)
    }
}

/// One file in so many is new.
const NEW_IN: u64 = 10;

/// Files and their length. Layers that Peel streams are cut every MiB, eStargz every 4 MiB.
const SIZES: [(u64, u64); 4] = [(400, 8_000), (100, 300_000), (10, 5 << 19), (10, (9 << 20) + 5)];

/// Measures the selected rows.
///
/// # Errors
/// When the node does not come up, or an image cannot be made, pulled or read.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let wanted = |rows: &[&str; 2]| rows.iter().any(|row| options.selection.wants(row));
    for (format, rows) in FORMATS.iter().filter(|(_, rows)| wanted(rows)) {
        let images = Images::start()?;
        let indexes = push(&images, *format)?;
        let changed: u64 = SIZES.iter().map(|(files, length)| files / NEW_IN * length).sum();
        let mut ratios = [Samples::default(), Samples::default()];
        for _ in 0..options.runs {
            report.count_sample(machine::wait_until_idle(options.patience)?);
            let fetched = update(&images, *format, &indexes)?;
            for (ratios, bytes) in ratios.iter_mut().zip([fetched.content, fetched.index]) {
                ratios.add(megabytes(bytes)? / megabytes(changed)?);
            }
        }
        for ((name, goal), peel) in rows.iter().zip([Some(GOAL), None]).zip(ratios) {
            if options.selection.wants(name) {
                let (name, unit) = ((*name).into(), "of the changed bytes");
                report.add(Measured { name, unit, goal, peel, baseline: None });
            }
        }
    }
    Ok(())
}

/// Where the index of a layer of the next version begins.
struct Index {
    layer: String,
    start: u64,
}

/// Bytes that the registry sent of layers.
#[derive(Debug, Default)]
struct Fetched {
    content: u64,
    index: u64,
}

/// What a new node fetches for the next version, all of which it reads after all of the last one.
fn update(images: &Arc<Images>, format: Format, indexes: &[Index]) -> Result<Fetched> {
    let node = Node::builder(Version::Debian12).images(images).start()?;
    read_whole(&node, LAST)?;
    machine::drop_caches()?;
    node.proxy().clear();
    read_whole(&node, format.image())?;
    let mut fetched = Fetched::default();
    for record in node.proxy().requests_of(&Match::blobs()) {
        let start = record.request.range.as_ref().map_or(0, |range| range.start);
        let index = indexes.iter().find(|index| record.request.path.contains(&index.layer));
        // Of another blob, the image's configuration, all is content.
        let content = index.map_or(u64::MAX, |index| index.start.saturating_sub(start)).min(record.bytes);
        fetched.content += content;
        fetched.index += record.bytes - content;
    }
    tracing::info!(?fetched, image = format.image(), "fetched");
    Ok(fetched)
}

fn read_whole(node: &Node, name: &str) -> Result<()> {
    let image = node.image(name);
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &["/bin/sleep", "1000000"])?;
    perform(Workload::Readall, &container.rootfs)?;
    node.remove(&container)
}

/// Makes both versions and pushes them.
fn push(images: &Images, format: Format) -> Result<Vec<Index>> {
    let base = small_app::sandbox_image()?;
    let image = |layers| Image { layers, config: base.config.clone() };
    let last = (0..3).map(|layer| Layer::gzip(files(&base, layer, 3, 0))).collect();
    let next = (0..2).map(|layer| files(&base, layer, 2, 1));
    let directory = images.path().join("update");
    let next = match format {
        Format::EStargz => {
            let layers = next.map(|files| HandMade::default().estargz(&files));
            image(layers.collect::<Result<_>>()?).write(&directory)?
        }
        Format::ZstdChunked => {
            let plain = image(next.map(Layer::gzip).collect()).write(&directory)?;
            EStargz::zstd_chunked().convert(&plain)?
        }
    };
    images.push_image(&image(last), LAST)?;
    images.push(&next, format.image())?;
    indexes(&next, format)
}

/// What one of `layers` layers has: one file in so many, and the first layer the base too.
fn files(base: &Image, layer: u64, layers: u64, version: u64) -> Vec<Entry> {
    let base: Vec<Entry> = base.layers.iter().flat_map(Layer::entries).cloned().collect();
    let mut entries = if layer == 0 { base } else { Vec::new() };
    entries.push(Entry::directory("data"));
    for (size, (files, length)) in (0..).zip(SIZES) {
        for file in (0..files).filter(|file| file % layers == layer) {
            // Odd and even ones, so that every layer of either version has new files.
            let version = if file % NEW_IN == 3 + size % 2 { version } else { 0 };
            let seed = 1 + file + (size << 32) + (version << 48);
            entries.push(Entry::file(format!("data/{size}-{file}"), Content::Noise { seed, length }));
        }
    }
    entries
}

/// Those of an image's layers.
fn indexes(image: &Layout, format: Format) -> Result<Vec<Index>> {
    let of = |layer: &Descriptor| {
        let path = image.blob_path(&layer.digest);
        let blob = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Index { layer: layer.digest.clone(), start: format.index_start(&blob)? })
    };
    image.manifest()?.layers.iter().map(of).collect()
}

/// Megabytes of a number below 4 GiB.
fn megabytes(bytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(bytes)?) / 1e6)
}
