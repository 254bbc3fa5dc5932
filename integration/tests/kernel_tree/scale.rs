//! A layer as large as one may be, through both fronts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    images::{Content, Entry, Image, Layer, Layout, artefact, small_app::base_layer},
    node::{Images, Node},
    unpacker::{Announced, Unpacker},
};
use rustix::mount::{UnmountFlags, unmount};

use super::{
    ground::{answers, bounded, layer_mounts, unused_go_at_once},
    removal,
};

/// The most that a layer may have (`peel_layer::Limits`), its root among them.
const NODES: usize = 2_000_000;
/// In one directory.
const WIDE: usize = 200_000;
/// In each of the others.
const NARROW: usize = 1_000;
const HOLE: u64 = 1 << 40;
/// Last in the layer's last directory.
const LAST: &str = "many/last";

fn entries() -> Vec<Entry> {
    let mut entries = vec![Entry::directory("wide")];
    entries.extend((0..WIDE).map(|number| Entry::file(format!("wide/{number:06}"), "")));
    entries.push(Entry::file("hole", Content::Hole(HOLE)));
    entries.push(Entry::directory("many"));
    for directory in 0.. {
        let room = (NODES - 1 - entries.len()).saturating_sub(2).min(NARROW);
        if room == 0 {
            break;
        }
        entries.push(Entry::directory(format!("many/{directory:04}")));
        entries.extend((0..room).map(|number| Entry::file(format!("many/{directory:04}/{number:03}"), "")));
    }
    entries.push(Entry::file(LAST, "the last one"));
    entries
}

fn image() -> Result<Layout> {
    let make = |directory: &std::path::Path| {
        let layers = vec![base_layer()?, Layer::gzip(entries())];
        Image::new(layers, &["/bin/busybox", "sleep", "3600"]).write(directory).map(drop)
    };
    artefact("two-million-1", make).map(Layout::open)
}

#[expect(clippy::print_stderr, reason = "a measurement, for who runs the test by hand")]
fn report(tree: &str, what: &str, seen: &str) {
    eprintln!("{tree}: {what}: {seen}");
}

/// What the daemon has resident.
fn memory(node: &mut Node) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", node.peel()?.pid()))?;
    let lines: Vec<_> =
        status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("RssAnon")).collect();
    Ok(lines.join(", "))
}

/// A container's Prepare on the image, which has the kernel mount its layers.
fn prepare(node: &mut Node, key: &str, chain: &str) -> Result<String> {
    let lease = node.ctr(&["leases", "create"])?;
    let unpacker = Unpacker::new(&node.containerd().socket(), "k8s.io", lease.trim())?;
    let begun = Instant::now();
    unpacker.prepare(key, chain, BTreeMap::new())?;
    let took = begun.elapsed();
    node.ctr(&["snapshots", "--snapshotter", "peel", "rm", key])?;
    node.ctr(&["leases", "rm", lease.trim()])?;
    Ok(format!("{took:?}"))
}

fn two_million(version: Version, tree: &str) -> Result<()> {
    let images = Images::start()?;
    let layout = image()?;
    images.push(&layout, "scale:it")?;
    let mut config = unused_go_at_once();
    config.insert("tree".into(), tree.into());
    config.insert("pull".into(), toml::toml! { fallback = "never" }.into());
    let mut node = Node::builder(version).images(&images).peel_config(config).start()?;
    let image = node.image("scale:it");
    node.cri().pull(&image)?;
    report(tree, "the daemon after the pull", &memory(&mut node)?);
    let chain = Announced::image(&image, &layout)?.pop().context("no layers")?.chain;
    report(tree, "the first Prepare", &prepare(&mut node, "first", &chain)?);
    report(tree, "the second", &prepare(&mut node, "second", &chain)?);
    node.peel()?.stop()?;
    for mount in layer_mounts(&mut node)? {
        unmount(&mount, UnmountFlags::DETACH)?;
    }
    node.peel()?.start_again()?;
    answers(&node)?;
    report(tree, "the first of the next daemon", &prepare(&mut node, "third", &chain)?);
    let container = node.start_container(&image, &[])?;
    ensure!(layer_mounts(&mut node)?.is_empty() == (tree == "fuse"), "tree = {tree}: other mounts");
    let rootfs = &container.rootfs;

    let listed = bounded("ls", &["-U"], &rootfs.join("wide"))?.lines().count();
    ensure!(listed == WIDE, "{listed} names in the wide directory");
    for name in ["000000", "099999", "199999"] {
        ensure!(rootfs.join("wide").join(name).metadata()?.is_file(), "{name}");
    }
    let tops = bounded("ls", &["-U"], &rootfs.join("many"))?.lines().count();
    let last = format!("many/{:04}", tops - 2);
    let rest = bounded("ls", &["-U"], &rootfs.join(&last))?.lines().count();
    ensure!(rest > 0 && NODES == 4 + WIDE + tops + (tops - 2) * NARROW + rest, "{tops} and {rest} names");
    ensure!(fs::read_to_string(rootfs.join(LAST))? == "the last one");

    let hole = File::open(rootfs.join("hole")).context("the hole")?;
    ensure!(hole.metadata()?.len() == HOLE);
    for at in [0, HOLE / 2 - 1, HOLE - 4096] {
        let mut bytes = [1; 4096];
        hole.read_exact_at(&mut bytes, at)?;
        ensure!(bytes == [0; 4096], "bytes at {at}");
    }
    drop(hole);
    node.remove(&container)?;
    removal::nothing_is_left(&mut node)
}

#[test]
fn two_million_entries_by_the_kernel() -> Result<()> {
    two_million(Version::Sid, "erofs")
}

#[test]
fn two_million_entries_through_fuse() -> Result<()> {
    two_million(Version::Debian12, "fuse")
}
