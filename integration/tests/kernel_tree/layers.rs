//! Images of many layers: what overlayfs and mount(2) have room for, and what the user hears of more.

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    images::{Entry, HandMade, Image, Layer, small_app::base_layer},
    node::{Images, Node},
};

use super::{
    ground::{layer_mounts, unused_go_at_once},
    removal,
};

/// An image of `count` layers, pulled: busybox, and in each of the others a file with its number.
fn pull(node: &Node, count: usize) -> Result<String> {
    let how = HandMade::default();
    let layer = |number| how.estargz(&[Entry::file(format!("layer{number}"), format!("{number}\n"))]);
    let layers: Result<Vec<Layer>> =
        std::iter::once(how.estargz(base_layer()?.entries())).chain((1..count).map(layer)).collect();
    let name = format!("layers:{count}");
    node.images().push_image(&Image::new(layers?, &["/bin/busybox", "sleep", "3600"]), &name)?;
    let image = node.image(&name);
    node.cri().pull(&image)?;
    Ok(image)
}

/// So many layers are seen, each a mount.
fn works(node: &mut Node, count: usize) -> Result<()> {
    let image = pull(node, count)?;
    let container = node.start_container(&image, &[])?;
    let seen = node.exec(&container, &["sh", "-c", "cat /layer*"])?.text();
    let mut numbers = seen.lines().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    numbers.sort_unstable();
    ensure!(numbers.iter().copied().eq(1..count), "{numbers:?}");
    let mounts = layer_mounts(node)?.len();
    ensure!(mounts == count, "{count} layers, {mounts} mounts");
    node.remove(&container)
}

/// So many are not, and the error has this in it.
fn refused(node: &mut Node, count: usize, says: &str) -> Result<()> {
    let image = pull(node, count)?;
    let error = node.start_container(&image, &[]).err().context("more layers than overlayfs takes")?;
    ensure!(format!("{error:#}").contains(says), "{error:#}");
    Ok(())
}

fn node(version: Version) -> Result<Node> {
    Node::builder(version).images(&Images::start()?).peel_config(unused_go_at_once()).start()
}

#[test]
fn as_many_as_overlayfs_takes_on_1_6() -> Result<()> {
    let mut node = node(Version::Debian12)?;
    works(&mut node, 500)?;
    refused(&mut node, 501, "stands on 501 layers, and overlayfs takes 500")?;
    removal::nothing_is_left(&mut node)
}

#[test]
fn as_many_as_a_page_of_options_has_room_for_on_2() -> Result<()> {
    let mut node = node(Version::Sid)?;
    works(&mut node, 250)?;
    refused(&mut node, 350, "mount options is too long")?;
    removal::nothing_is_left(&mut node)
}
