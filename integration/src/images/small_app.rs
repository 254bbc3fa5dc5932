//! Small images that build in a moment: busybox, and data in which laziness can be measured.

use std::fs;

use anyhow::{Context, Result};

use super::artefact::artefact;
use super::content::Content;
use super::entry::Entry;
use super::hand_made::HandMade;
use super::image::Image;
use super::layer::Layer;
use super::layout::Layout;
use crate::debian::{self, Suite};

const MIB: u64 = 1024 * 1024;

/// Commands that the containers of tests use.
const APPLETS: [&str; 24] = [
    "cat",
    "chmod",
    "cp",
    "dd",
    "echo",
    "env",
    "find",
    "grep",
    "head",
    "httpd",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mv",
    "nc",
    "ps",
    "rm",
    "sh",
    "sha256sum",
    "sleep",
    "stat",
    "test",
    "wc",
];

/// Media type of an encrypted gzip layer, as ocicrypt's tools write it.
pub const MEDIA_TYPE_ENCRYPTED: &str = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
/// A media type that nobody knows.
pub const MEDIA_TYPE_UNKNOWN: &str = "application/vnd.example.layer.v9+mystery";

/// busybox, users, an empty `/tmp` of mode 1777, and every path that a runtime would otherwise create in the
/// container's upper directory, so that a started container leaves the tree as the image says.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn base_layer() -> Result<Layer> {
    let package = debian::package(Suite::Bookworm, "busybox-static")?;
    let binary = package.root.join("bin/busybox");
    let busybox = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let directories =
        ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "usr/bin", "var", "var/run"];
    let mut entries: Vec<Entry> = directories.iter().map(Entry::directory).collect();
    entries[7].mode = 0o1777;
    entries.push(Entry::file("bin/busybox", busybox).mode(0o755));
    entries.extend(APPLETS.iter().map(|name| Entry::symlink(format!("bin/{name}"), "busybox")));
    entries.push(Entry::file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n"));
    entries.push(Entry::file("etc/group", "root:x:0:\nweb:x:1000:\n"));
    entries.extend(["etc/hosts", "etc/hostname", "etc/resolv.conf"].map(|name| Entry::file(name, "")));
    Ok(Layer::gzip(entries))
}

/// A layer of `megabytes` files of 1 MiB below `/directory`, which nothing shortens or reads by itself.
#[must_use]
pub fn data_layer(directory: &str, seed: u64, megabytes: u64) -> Layer {
    let mut entries = vec![Entry::directory(directory)];
    entries.extend((0..megabytes).map(|number| {
        let content = Content::Noise { seed: seed * 100_000 + number, length: MIB };
        Entry::file(format!("{directory}/{number:03}"), content)
    }));
    Layer::gzip(entries)
}

/// What a container of these images runs when the test says nothing else.
pub const SLEEP: [&str; 3] = ["/bin/busybox", "sleep", "3600"];

/// The sandbox image: does nothing, for as long as the pod lives.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn sandbox_image() -> Result<Image> {
    Ok(Image::new(vec![base_layer()?], &SLEEP))
}

/// busybox, 8 MiB of data, and a layer that only `variant` has. All variants share the two lower layers, so the
/// node has them after the first.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn small_app_image(variant: &str) -> Result<Image> {
    let own = Layer::gzip(vec![
        Entry::directory("app"),
        Entry::file("app/variant", format!("{variant}\n")),
        Entry::file("app/start", format!("#!/bin/sh\necho started {variant}\nexec sleep 3600\n")).mode(0o755),
    ]);
    Ok(Image::new(vec![base_layer()?, data_layer("data", 1, 8), own], &["/app/start"]))
}

/// A lazy image of two layers that is quick to make: busybox, which all of them share, and `/app/variant`, four
/// files of 1 MiB below `/data`, and one in the `VOLUME` `/volume`, which only this variant has.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn lazy_app_image(variant: &str) -> Result<Image> {
    HandMade::default().image(&app_image(variant)?)
}

/// The same without indexes: it is streamed.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn app_image(variant: &str) -> Result<Image> {
    let seed = variant.bytes().fold(7, |seed: u64, byte| (seed * 31 + u64::from(byte)) % 10_007);
    let mut entries = vec![Entry::directory("app"), Entry::file("app/variant", format!("{variant}\n"))];
    entries.extend_from_slice(data_layer("data", seed, 4).entries());
    // Last: read-ahead from it finds nothing more, so that what a test has not read is not here.
    entries.push(Entry::directory("volume"));
    entries.push(Entry::file("volume/content", Content::Noise { seed: seed * 100_000 + 999, length: MIB }));
    Ok(Image::new(vec![base_layer()?, Layer::gzip(entries)], &SLEEP).volume("/volume"))
}

/// An image that holds one layer twice, with another one between that removes some of it.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn same_layer_twice_image() -> Result<Image> {
    let twice = data_layer("data", 2, 3);
    let between = Layer::gzip(vec![Entry::whiteout("data/001"), Entry::file("between", "here\n")]);
    Ok(Image::new(vec![base_layer()?, twice.clone(), between, twice], &SLEEP))
}

/// A lazy image with 300 MB below a `VOLUME`, in four layers, which containerd copies at CreateContainer; kept in
/// the cache.
///
/// # Errors
/// When busybox cannot be fetched or the cache not be written.
pub fn big_volume_image() -> Result<Layout> {
    let parts = (0..4).map(|part| data_layer(&format!("volume/{part}"), 30 + part, 75));
    let image = Image::new(std::iter::once(base_layer()?).chain(parts).collect(), &SLEEP).volume("/volume");
    artefact("big-volume-2", |directory| HandMade::default().image(&image)?.write(directory).map(drop))
        .map(Layout::open)
}
