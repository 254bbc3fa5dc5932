//! A pod on Peel sees exactly the tree that a pod on overlayfs sees of the same image.
//!
//! ```text
//! cargo test -p peel-integration --test equality    # as root, on Debian 12, with peel built
//! ```
//!
//! Both pods run the same eStargz image with the same containerd; their root filesystems are read from the host and
//! compared in everything, but for the listed [`Exceptions`].

use anyhow::{Result, ensure};
use peel_integration::containerd::Version;
use peel_integration::equality::{Exceptions, compare, ensure_equal, pods_see_the_same, tree_of_pod};
use peel_integration::images::equality::{equality_image, hand_made_equality_image, untimed_directories};
use peel_integration::images::{Destination, EStargz, HandMade, Layout, push};
use peel_integration::node::{Images, Node, Snapshotter};
use toml::Table;

/// Later than every time that an image records, but for the one that is there because it is late: a path with such a
/// time got it from unpacking. 2025-06-01.
const UNPACKED_SINCE: i64 = 1_748_736_000;

/// Compares pods on overlayfs and on Peel as it is without a word of configuration.
fn both_see_the_same(version: Version, layout: &Layout) -> Result<()> {
    pods_see_the_same(version, layout, Table::new()).map(drop)
}

/// Writes the image and converts it as users do.
fn converted(how: EStargz) -> Result<Layout> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    how.convert(&equality_image()?.write(directory.path())?)
}

/// The check's own ground: overlayfs takes the image whole, neither a converter nor the hand-made writer changes what
/// a pod can see, and the exceptions are as narrow as they claim.
#[test]
fn overlayfs_takes_the_image_and_its_conversion() -> Result<()> {
    let images = Images::start()?;
    let destination = |tag| Destination::new(images.address().to_string(), "equality", tag);
    let plain = equality_image()?.write(&images.path().join("equality"))?;
    push(&plain, &destination("plain"))?;
    push(&EStargz::default().convert(&plain)?, &destination("estargz"))?;
    push(
        &hand_made_equality_image(HandMade::default())?.write(&images.path().join("hand"))?,
        &destination("hand"),
    )?;
    let node =
        Node::builder(Version::Debian12).snapshotter(Snapshotter::Overlayfs).images(&images).start()?;
    let tree = |tag: &str| tree_of_pod(&node, &format!("equality:{tag}"));
    let (plain, lazy) = (tree("plain")?, tree("estargz")?);
    let untimed = untimed_directories()?;
    ensure_equal(&compare(&lazy, &plain, &Exceptions::estargz(untimed.clone())))?;
    let mut exceptions = Exceptions::estargz(untimed.clone());
    exceptions.hidden.extend(["attributes/large-owner", "attributes/largest-owner"].map(|path| path.into()));
    let mut report = compare(&plain, &tree("hand")?, &exceptions);
    // overlayfs shows the TOC, which the plain image has not.
    report.differences.retain(|found| found.path != b"stargz.index.json");
    ensure_equal(&report)?;
    for (path, found) in plain.nodes() {
        let recorded = found.mtime.seconds < UNPACKED_SINCE || path.ends_with(b"after-2038");
        ensure!(recorded != untimed.contains(path), "/{}: {:?}", path.escape_ascii(), found.mtime);
    }
    Ok(())
}

#[test]
fn estargz_on_1_6() -> Result<()> {
    both_see_the_same(Version::Debian12, &converted(EStargz::default())?)
}

#[test]
fn estargz_of_small_chunks_on_1_7() -> Result<()> {
    both_see_the_same(Version::Trixie, &converted(EStargz::small_chunks())?)
}

#[test]
fn estargz_on_2() -> Result<()> {
    both_see_the_same(Version::Sid, &converted(EStargz::default())?)
}

/// Names twice, and chunks that begin inside a compressed member.
#[test]
fn hand_made_estargz_on_1_6() -> Result<()> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let how = HandMade { chunk_size: 256 * 1024, pack: 64 * 1024 };
    both_see_the_same(Version::Debian12, &hand_made_equality_image(how)?.write(directory.path())?)
}
