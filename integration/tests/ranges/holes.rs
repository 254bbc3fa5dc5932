//! Holes, which the TOC marks (`chunkType: zeros`), are known without a byte of the blob.

use std::{fs::File, os::unix::fs::FileExt as _};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    images::{
        Content, Entry, Image, Layer, Layout, Skopeo,
        small_app::{SLEEP, base_layer},
    },
    node::{Images, Node},
    proxy::{Fault, Match},
};
use peel_layer::{
    ChunkDigest,
    testing::{EStargzWriter, TarEntry},
};
use rustix::fs::{Advice, fadvise};
use serde_json::json;

use crate::evict;

const MIB: usize = 1 << 20;
/// Of `/holes/some`, which has a MiB of noise before and behind it.
const HOLE: std::ops::Range<usize> = MIB..9 * MIB;
/// What is read of it: who reads in order wants what comes behind the hole, and up to 4 MiB ahead are fetched for him.
const READ: std::ops::Range<usize> = HOLE.start..HOLE.end - 5 * MIB;
/// `/holes/all` is nothing else.
const ALL: usize = 6 * MIB;

/// No two images have the same: it would be copied from the other.
fn some(seed: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    Content::Noise { seed, length: (HOLE.end + MIB) as u64 }.copy_to(&mut content)?;
    content[HOLE].fill(0);
    Ok(content)
}

fn plain(seed: u64) -> Result<Image> {
    let files = [Entry::file("holes/some", some(seed)?), Entry::file("holes/all", vec![0; ALL])];
    let entries = [vec![Entry::directory("holes")], files.to_vec()].concat();
    Ok(Image::new(vec![base_layer()?, Layer::gzip(entries)], &SLEEP))
}

/// eStargz whose TOC has what only containers/storage writes: the form is the same.
fn estargz(seed: u64) -> Result<Image> {
    let entries = [
        TarEntry::directory("holes"),
        TarEntry::file("holes/some", &some(seed)?),
        TarEntry::file("holes/all", &vec![0; ALL]),
    ];
    let zeros = json!(ChunkDigest::of(&vec![0; MIB]));
    let made = EStargzWriter::new().chunk_size(MIB).entries(&entries).finish_edited(|toc| {
        for chunk in toc.iter_mut().filter(|entry| entry["chunkDigest"] == zeros) {
            chunk["chunkType"] = json!("zeros");
        }
    });
    let layer = Layer::blob(made.blob, made.diff_id.to_string());
    let layer = layer.annotation("containerd.io/snapshot/stargz/toc.digest", made.toc_digest.to_string());
    Ok(Image::new(vec![base_layer()?, layer], &SLEEP))
}

/// With nothing here and no registry, holes can be read, and nobody asks for them; what is no hole cannot.
fn cost_no_fetch(node: &mut Node, layout: &Layout, seed: u64, format: &str) -> Result<()> {
    let layer = layout.manifest()?.layers.pop().context("layers")?.digest;
    let name = format!("holes-{seed}:it");
    node.images().push(layout, &name)?;
    let image = node.image(&name);
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &[])?;
    let layers = node.peel()?.json("layers")?;
    let is_lazy = |it: &serde_json::Value| it["digest"] == layer.as_str() && it["format"] == format;
    ensure!(layers.as_array().into_iter().flatten().any(is_lazy), "{layers}");
    evict(node.peel()?, &layer)?;
    let read = |path: &str, start: usize, length: usize| -> Result<Vec<u8>> {
        let file = File::open(container.rootfs.join(path))?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        fadvise(&file, 0, None, Advice::Random)?;
        let mut bytes = vec![1; length];
        file.read_exact_at(&mut bytes, start as u64)?;
        Ok(bytes)
    };
    let down = node.proxy().inject(Match::all(), Fault::Disconnect);
    ensure!(read("holes/all", 0, ALL)?.iter().all(|byte| *byte == 0), "/holes/all");
    ensure!(read("holes/some", READ.start, READ.len())?.iter().all(|byte| *byte == 0), "/holes/some");
    ensure!(down.hits() == 0, "asked for: {:?}", node.proxy().requests_of(&Match::blob(&layer)));
    drop(down);
    node.proxy().clear();
    let content = some(seed)?;
    for start in [0, HOLE.end] {
        ensure!(read("holes/some", start, MIB)? == content[start..start + MIB], "other bytes at {start}");
    }
    ensure!(node.proxy().bytes_of(&Match::blob(&layer)) >= 2 * MIB as u64, "what is no hole was here");
    node.remove(&container)
}

#[test]
fn holes_cost_no_fetch() -> Result<()> {
    let images = Images::start()?;
    let write = |image: Image, seed: u64| image.write(&images.path().join(format!("holes-{seed}")));
    let layouts = [
        ("estargz", write(estargz(31)?, 31)?),
        ("zstd:chunked", Skopeo::Installed.zstd_chunked(&write(plain(32)?, 32)?)?),
        ("zstd:chunked", Skopeo::Trixie.zstd_chunked(&write(plain(33)?, 33)?)?),
    ];
    let mut node = Node::builder(Version::Debian12).images(&images).start()?;
    for ((format, layout), seed) in layouts.iter().zip(31..) {
        cost_no_fetch(&mut node, layout, seed, format).with_context(|| format!("{format}, image {seed}"))?;
    }
    Ok(())
}
