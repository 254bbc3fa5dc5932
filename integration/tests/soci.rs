//! Images with SOCI indexes, through real containerds.
//!
//! ```text
//! cargo test -p peel-integration --test soci    # as root, on Debian 12, with peel built
//! ```
//!
//! Debian's docker-registry has no referrers API, so its fallback tag is what version 1 is found by; a stub in the proxy
//! plays the API.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    equality::{Exceptions, Tree, compare, ensure_equal, tree_of_pod},
    images::{
        Destination, Image, SociImage,
        equality::{equality_image, untimed_directories},
        small_app::{base_layer, data_layer},
    },
    node::{Images, Node, Snapshotter},
    proxy::{Fault, Match},
};
use serde_json::Value;
use toml::Table;

const NAME: &str = "soci:it";

/// Registry and image, in folders of the test.
struct Ground {
    images: std::sync::Arc<Images>,
}

impl Ground {
    fn start() -> Result<Self> {
        Ok(Self { images: Images::start()? })
    }

    fn destination(&self) -> Destination {
        Destination::new(self.images.address().to_string(), "soci", "it")
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.images.path().join(name)
    }

    fn node(&self, version: Version) -> Result<Node> {
        Node::builder(version).images(&self.images).peel_config(lazy()).start()
    }

    fn tree_on_overlayfs(&self, version: Version) -> Result<Tree> {
        let node = Node::builder(version).snapshotter(Snapshotter::Overlayfs).images(&self.images).start()?;
        tree_of_pod(&node, NAME)
    }
}

/// Layers of tests are small; they are not to be fetched whole.
fn lazy() -> Table {
    toml::toml! {
        [fetch]
        whole_layer_bytes = 0
    }
}

/// Believes indexes of version 1 in the repository of the test.
fn trust(node: &mut Node) -> Result<()> {
    let trusted = format!("[registry]\ntrust_unbound_index = [\"{}/soci\"]", node.proxy().address());
    node.peel()?.restart_with(&trusted.parse()?)?;
    node.wait_for_peel()
}

/// Format and reason of each layer of the image, from the lowest.
fn layers(node: &mut Node, image: &SociImage) -> Result<Vec<(String, String)>> {
    let report = node.peel()?.json("layers")?;
    let find = |digest: &str| {
        let all = report.as_array().or_else(|| report["layers"].as_array()).context("a list of layers")?;
        let layer = all.iter().find(|layer| layer["digest"] == digest);
        let layer = layer.with_context(|| format!("{digest} is not in {report}"))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok((text(&layer["format"]), text(&layer["reason"])))
    };
    image.layout().manifest()?.layers.iter().map(|layer| find(&layer.digest)).collect()
}

/// Whether anybody looked for what refers to an image.
fn asked_for_referrers(node: &Node) -> bool {
    let asks = |path: &str| path.contains("/referrers/") || path.contains("/manifests/sha256-");
    !node.proxy().requests_of(&Match::when(move |request| asks(&request.path))).is_empty()
}

/// busybox, and a layer of 3 MiB that compresses little.
fn small() -> Result<Image> {
    Ok(Image::new(vec![base_layer()?, data_layer("data", 5, 3)], &["/bin/busybox", "sleep", "3600"]))
}

fn version_2_shows_what_overlayfs_shows(version: Version) -> Result<()> {
    let ground = Ground::start()?;
    let image = SociImage::write(&equality_image()?, &ground.folder("plain"), |_, _| {})?;
    let bound = image.push_v2(&ground.destination(), &ground.folder("bound"), true)?;
    let expected = ground.tree_on_overlayfs(version)?;
    let mut node = ground.node(version)?;
    let actual = tree_of_pod(&node, NAME)?;
    // What a node with Peel unpacked would be equal for the wrong reason.
    for layer in bound.manifest()?.layers {
        let unpacked = Match::blob(&layer.digest).from_agent("containerd");
        ensure!(node.proxy().requests_of(&unpacked).is_empty(), "containerd pulled {}", layer.digest);
    }
    let found = layers(&mut node, &image)?;
    let bound = |(format, reason): &(String, String)| {
        format == "soci" && reason == "its SOCI index is named by the manifest"
    };
    ensure!(found.iter().all(bound), "{found:?}");
    ensure!(!asked_for_referrers(&node), "a bound index was looked for elsewhere");
    // One index for all layers, and each ztoc once.
    let documents = Match::manifests().from_agent("peel");
    ensure!(node.proxy().requests_of(&documents).len() == 1, "{:?}", node.proxy().requests_of(&documents));
    for ztoc in image.ztocs() {
        let read = node.proxy().bytes_of(&Match::blob(&ztoc.digest));
        ensure!(read == ztoc.size, "{read} bytes of a ztoc of {}", ztoc.size);
    }
    ensure_equal(&compare(&expected, &actual, &Exceptions::estargz(untimed_directories()?)))?;
    // Readable again without a registry, and with the bytes that were checked.
    let gone = node.proxy().inject(Match::all(), Fault::Disconnect);
    node.peel()?.restart()?;
    node.wait_for_peel()?;
    let again = Tree::read(&{
        let container = node.start_container(&node.image(NAME), &[])?;
        container.rootfs
    })?;
    ensure!(gone.hits() == 0, "the registry was asked");
    ensure_equal(&compare(&actual, &again, &Exceptions::estargz(untimed_directories()?)))
}

#[test]
fn version_2_on_1_6() -> Result<()> {
    version_2_shows_what_overlayfs_shows(Version::Debian12)
}

#[test]
fn version_2_on_2() -> Result<()> {
    version_2_shows_what_overlayfs_shows(Version::Sid)
}

/// An index that refers to the image, whose windows lie: nobody looks for it, and the files are the layer's.
/// Where the repository is trusted it is believed, which shows that it does lie.
fn version_1_needs_trust(version: Version) -> Result<()> {
    let ground = Ground::start()?;
    let lying = SociImage::write(&small()?, &ground.folder("plain"), |number, layer| {
        if number == 0 {
            // Behind in, out and bits of every checkpoint but the first.
            for row in layer.ztoc.checkpoints[12..].chunks_mut(32_785).skip(1) {
                row[17..].iter_mut().for_each(|byte| *byte ^= 0x20);
            }
        }
    })?;
    lying.push_v1(&ground.destination(), true)?;
    let busybox = |node: &Node| -> Result<String> {
        node.cri().pull(&node.image(NAME))?;
        let container = node.start_container(&node.image(NAME), &[])?;
        let digest = peel_layer::ChunkDigest::of(&std::fs::read(container.rootfs.join("bin/busybox"))?);
        node.remove(&container)?;
        Ok(digest.to_string())
    };
    let expected = {
        let node =
            Node::builder(version).snapshotter(Snapshotter::Overlayfs).images(&ground.images).start()?;
        busybox(&node)?
    };
    let mut node = ground.node(version)?;
    ensure!(busybox(&node)? == expected, "an index that nobody vouches for was used");
    ensure!(!asked_for_referrers(&node), "an index that nobody vouches for was looked for");
    for (format, reason) in layers(&mut node, &lying)? {
        ensure!(format == "gzip", "{format}: {reason}");
    }
    let mut node = ground.node(version)?;
    trust(&mut node)?;
    let image = node.image(NAME);
    // The program that would run is not one any more.
    let pulled = node.cri().pull(&image);
    let layers = layers(&mut node, &lying)?;
    ensure!(layers.iter().all(|(format, _)| format == "soci"), "{layers:?}, {pulled:?}");
    ensure!(!busybox(&node).is_ok_and(|found| found == expected), "the index does not lie");
    Ok(())
}

#[test]
fn version_1_needs_trust_on_1_6() -> Result<()> {
    version_1_needs_trust(Version::Debian12)
}

#[test]
fn version_1_needs_trust_on_2() -> Result<()> {
    version_1_needs_trust(Version::Sid)
}

/// Found by the fallback tag of a registry without the API, and by the API of one that has it.
fn version_1_is_found_where_it_is_trusted(version: Version, by_tag: bool) -> Result<()> {
    let ground = Ground::start()?;
    let image = SociImage::write(&equality_image()?, &ground.folder("plain"), |_, _| {})?;
    let referrers = image.push_v1(&ground.destination(), by_tag)?;
    let expected = ground.tree_on_overlayfs(version)?;
    let mut node = ground.node(version)?;
    trust(&mut node)?;
    let api = Match::when(|request| request.path.contains("/referrers/"));
    let stub = (!by_tag).then(|| node.proxy().inject(api, Fault::Answer(referrers)));
    let actual = tree_of_pod(&node, NAME)?;
    ensure!(stub.is_none_or(|stub| stub.hits() == 1), "the API was not asked once");
    for (format, reason) in layers(&mut node, &image)? {
        ensure!(format == "soci" && reason == "a SOCI index refers to the image", "{format}: {reason}");
    }
    ensure_equal(&compare(&expected, &actual, &Exceptions::estargz(untimed_directories()?)))
}

#[test]
fn version_1_by_tag_on_1_6() -> Result<()> {
    version_1_is_found_where_it_is_trusted(Version::Debian12, true)
}

#[test]
fn version_1_by_api_on_2() -> Result<()> {
    version_1_is_found_where_it_is_trusted(Version::Sid, false)
}

/// No index where the manifest says, an index without one of the layers, a ztoc that is not there: what cannot be lazy is
/// streamed, and says why.
#[test]
fn what_has_no_index_is_streamed() -> Result<()> {
    let ground = Ground::start()?;
    let pull =
        |prepare: &dyn Fn(&mut SociImage) -> Result<bool>, name: &str| -> Result<Vec<(String, String)>> {
            let mut image = SociImage::write(&small()?, &ground.folder(name), |_, _| {})?;
            let with_index = prepare(&mut image)?;
            image.push_v2(&ground.destination(), &ground.folder(&format!("{name}-bound")), with_index)?;
            let mut node = ground.node(Version::Sid)?;
            node.cri().pull(&node.image(NAME))?;
            let container = node.start_container(&node.image(NAME), &[])?;
            node.remove(&container)?;
            layers(&mut node, &image)
        };
    let dangling = pull(&|_| Ok(false), "dangling")?;
    for (format, reason) in &dangling {
        ensure!(
            format == "gzip" && reason.contains("SOCI index") && reason.contains("not found"),
            "{reason}"
        );
    }
    let without = pull(
        &|image| {
            image.forget(1);
            Ok(true)
        },
        "without",
    )?;
    ensure!(without[0].0 == "soci", "{without:?}");
    ensure!(without[1].0 == "gzip" && without[1].1.contains("no ztoc of the layer"), "{without:?}");
    Ok(())
}
