//! The check itself: two pods of one image, one on overlayfs, one on Peel.

use anyhow::{Result, ensure};
use toml::Table;

use super::{Exceptions, Report, Tree, compare};
use crate::{
    containerd::Version,
    images::{Layout, equality::untimed_directories},
    node::{Images, Node, Snapshotter},
    proxy::Match,
};

const NAME: &str = "equality:it";

/// The tree of a pod of an image of the registry.
///
/// # Errors
/// As containerd says, or when something of the tree cannot be read.
pub fn tree_of_pod(node: &Node, name: &str) -> Result<Tree> {
    let image = node.image(name);
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &[])?;
    let tree = Tree::read(&container.rootfs);
    node.remove(&container)?;
    tree
}

/// Compares pods of the equality image on overlayfs and on Peel with this configuration. Gives the node with Peel,
/// which still has the image.
///
/// # Errors
/// The differences; or when it was containerd that unpacked for Peel.
pub fn pods_see_the_same(version: Version, layout: &Layout, config: Table) -> Result<Node> {
    let images = Images::start()?;
    images.push(layout, NAME)?;
    let layers = layout.manifest()?.layers;
    let see = |snapshotter, config| -> Result<(Tree, Node)> {
        let node =
            Node::builder(version).snapshotter(snapshotter).images(&images).peel_config(config).start()?;
        let seen = tree_of_pod(&node, NAME)?;
        // An image that fell back to an ordinary one would be equal for the wrong reason.
        let unpacked = layers.iter().any(|layer| {
            let by_containerd = Match::blob(&layer.digest).from_agent("containerd");
            !node.proxy().requests_of(&by_containerd).is_empty()
        });
        ensure!(
            unpacked == (snapshotter == Snapshotter::Overlayfs),
            "{snapshotter:?}: unpacked is {unpacked}"
        );
        Ok((seen, node))
    };
    let (expected, _) = see(Snapshotter::Overlayfs, Table::new())?;
    let (actual, node) = see(Snapshotter::Peel, config)?;
    ensure_equal(&compare(&expected, &actual, &Exceptions::estargz(untimed_directories()?)))?;
    Ok(node)
}

/// No difference, and something was compared.
///
/// # Errors
/// The differences.
pub fn ensure_equal(report: &Report) -> Result<()> {
    // Fewer would mean that the trees are equal because both are empty.
    ensure!(report.compared > 2000, "only {} paths were compared", report.compared);
    ensure!(report.is_equal(), "{report}");
    Ok(())
}
