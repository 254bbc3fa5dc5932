//! What is read after everything was evicted: the same bytes, and of the blob only the ranges that they need.
//!
//! ```text
//! cargo test -p peel-integration --test ranges    # as root, on Debian 12, with peel built
//! ```
//!
//! One node, whichever containerd it has, and one image per format; no two have common content, or one would be copied from the other. Each read finds
//! nothing in the cache nor in the page cache. What it may fetch follows from the layer's own index (`index`): the units
//! of the chunks that it touches, and what a request is stretched by; and a unit is no larger than docs/ say.

mod holes;
mod index;
mod small;
mod source;

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    node::{Container, Images, Node},
    peel::Peel,
    proxy::Match,
    wait,
};
use rustix::fs::{Advice, fadvise};

use self::{
    index::Index,
    source::{FORMATS, Source},
};

/// Reads of each layer.
const READS: u64 = 12;
/// Longest wait for a request to be answered whole.
const SOON: Duration = Duration::from_secs(60);

/// A cold read gets the right bytes, and fetches what it needs.
#[test]
fn only_what_is_needed() -> Result<()> {
    let images = Images::start()?;
    let mut node = Node::builder(Version::Debian12).images(&images).start()?;
    for (number, format) in FORMATS.iter().enumerate() {
        let source = format.push(u64::try_from(number)?, &images)?;
        reads_of(&mut node, &source).with_context(|| format.name.to_owned())?;
    }
    Ok(())
}

fn reads_of(node: &mut Node, source: &Source) -> Result<()> {
    let image = node.image(&source.name);
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &[])?;
    for (path, content) in &source.files {
        ensure!(std::fs::read(container.rootfs.join(path))? == *content, "{path} is not what was packed");
    }
    let index = Index::open(&node.peel()?.root(), &source.layer)?;
    ensure!(index.format() == source.format.is, "it is {}", index.format());
    let mut random = source.seed | 1;
    for _ in 0..READS {
        let mut next = |below: usize| {
            // Knuth's MMIX: the high bits are good enough to choose by.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap_or_default() % below
        };
        let (path, content) = &source.files[next(source.files.len())];
        let start = next(content.len());
        let bytes = start..content.len().min(start + 1 + next(6000));
        // What came along with the read before may have been stored after the eviction, and say nothing was needed.
        let read = wait::until("a read that finds nothing here", SOON, || {
            let read = cold_read(node, source, &container, path, &bytes)?;
            Ok((!read.ranges.is_empty()).then_some(read))
        });
        let read = read.with_context(|| format!("/{path}, bytes {bytes:?}"))?;
        ensure!(read.bytes == content[bytes.clone()], "/{path}: other bytes at {bytes:?}");
        let allowed = index.needs(path, &bytes)?;
        let outside =
            |range: &Range<u64>| !allowed.iter().any(|it| it.start <= range.start && range.end <= it.end);
        ensure!(
            !read.ranges.iter().any(outside),
            "/{path}, bytes {bytes:?}: fetched {:?}, needed {allowed:?}",
            read.ranges
        );
        let sum: u64 = read.ranges.iter().map(|range| range.end - range.start).sum();
        ensure!(sum <= source.format.most, "/{path}, bytes {bytes:?}: {sum} bytes: {:?}", read.ranges);
    }
    node.remove(&container)
}

/// Has nothing of a layer here.
fn evict(peel: &Peel, layer: &str) -> Result<()> {
    // What came along with the read before may still be on its way into the cache.
    wait::until("nothing to be here", SOON, || {
        peel.command(&["evict", layer])?;
        let layers = peel.json("layers")?;
        let mut layers = layers.as_array().into_iter().flatten();
        let found = layers.find(|it| it["digest"] == layer).context("the layer is not listed")?;
        Ok((found["present_bytes"] == 0).then_some(()))
    })
}

/// What a read gave, and what was asked of the registry for it.
struct ColdRead {
    bytes: Vec<u8>,
    ranges: Vec<Range<u64>>,
}

/// Nothing of the layer is here before.
fn cold_read(
    node: &mut Node,
    source: &Source,
    container: &Container,
    path: &str,
    bytes: &Range<usize>,
) -> Result<ColdRead> {
    let file = File::open(container.rootfs.join(path))?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    // The kernel's own read-ahead is not what is looked at here.
    fadvise(&file, 0, None, Advice::Random)?;
    evict(node.peel()?, &source.layer)?;
    node.proxy().clear();
    let mut read = vec![0; bytes.len()];
    file.read_exact_at(&mut read, u64::try_from(bytes.start)?)?;
    let of_layer = Match::blob(&source.layer);
    let requests = wait::until("the requests to be answered", SOON, || {
        let requests = node.proxy().requests_of(&of_layer);
        let whole = requests
            .iter()
            .all(|it| it.request.range.as_ref().is_some_and(|range| it.bytes == range.end - range.start));
        Ok(whole.then_some(requests))
    })?;
    Ok(ColdRead { bytes: read, ranges: requests.into_iter().filter_map(|it| it.request.range).collect() })
}
