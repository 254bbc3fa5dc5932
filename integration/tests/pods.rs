//! Pods on Peel, with each containerd: lazy images, ordinary ones, removal.
//!
//! ```text
//! cargo test -p peel-integration --test pods    # as root, on Debian 12, with peel built
//! ```

use anyhow::{Result, ensure};
use peel_integration::{
    containerd::Version,
    images::{EStargz, Layout, MEDIA_TYPE_NONDISTRIBUTABLE, small_app::small_app_image},
    node::{Images, Node},
    proxy::{Match, Record},
};

const PLAIN: &str = "app:plain";
const LAZY: &str = "app:estargz";

/// Reads of the image's layers by whoever calls itself `agent`.
fn layer_reads(node: &Node, layout: &Layout, agent: &'static str) -> Result<Vec<Record>> {
    let digests: Vec<String> = layout.manifest()?.layers.into_iter().map(|layer| layer.digest).collect();
    let reads = Match::when(move |request| {
        request.reads_blob() && digests.iter().any(|digest| request.path.contains(digest))
    });
    Ok(node.proxy().requests_of(&reads.from_agent(agent)))
}

fn run_and_remove(node: &Node, image: &str, variant: &str) -> Result<()> {
    let container = node.start_container(image, &[])?;
    let exec = node.exec(&container, &["cat", "/app/variant"])?;
    ensure!(exec.text() == variant, "{exec:?}");
    node.remove(&container)
}

fn pods(version: Version) -> Result<()> {
    let images = Images::start()?;
    let plain = small_app_image("one")?.write(&images.path().join("one"))?;
    let lazy = EStargz::default().convert(&plain)?;
    let plain = plain.derive(&images.path().join("ordinary"), |manifest| {
        for layer in &mut manifest.layers {
            MEDIA_TYPE_NONDISTRIBUTABLE.clone_into(&mut layer.media_type);
        }
    })?;
    images.push(&plain, PLAIN)?;
    images.push(&lazy, LAZY)?;
    let mut node = Node::builder(version).images(&images).start()?;

    let ordinary = node.image(PLAIN);
    node.cri().pull(&ordinary)?;
    ensure!(
        layer_reads(&node, &plain, "containerd")?.len() == 3,
        "an ordinary image is containerd's to pull"
    );
    run_and_remove(&node, &ordinary, "one")?;

    node.proxy().clear();
    let image = node.image(LAZY);
    node.cri().pull(&image)?;
    run_and_remove(&node, &image, "one")?;
    let eager = layer_reads(&node, &lazy, "containerd")?;
    ensure!(eager.is_empty(), "containerd fetched layers: {eager:?}\n{}", node.peel()?.json("layers")?);
    let fetched: u64 = layer_reads(&node, &lazy, "peel")?.iter().map(|record| record.bytes).sum();
    let whole = lazy.manifest()?.layer_bytes();
    ensure!(fetched > 0 && fetched < whole / 3, "{fetched} bytes fetched of {whole}");

    node.peel()?.restart()?;
    node.restart_containerd()?;
    run_and_remove(&node, &image, "one")?;

    for name in [&image, &ordinary] {
        node.cri().remove_image(name)?;
        ensure!(node.cri().image(name)?.is_none());
    }
    Ok(())
}

#[test]
fn debian_12() -> Result<()> {
    pods(Version::Debian12)
}

#[test]
fn trixie() -> Result<()> {
    pods(Version::Trixie)
}

#[test]
fn sid() -> Result<()> {
    pods(Version::Sid)
}

/// `ctr image pull` goes through the transfer service on 2.x, which announces layers like CRI does.
#[test]
fn sid_pulls_lazily_with_ctr() -> Result<()> {
    let images = Images::start()?;
    let plain = small_app_image("one")?.write(&images.path().join("one"))?;
    let lazy = EStargz::default().convert(&plain)?;
    images.push(&lazy, LAZY)?;
    let node = Node::builder(Version::Sid).images(&images).start()?;
    node.ctr(&["image", "pull", "--plain-http", "--snapshotter", "peel", &node.image(LAZY)])?;
    ensure!(layer_reads(&node, &lazy, "containerd")?.is_empty());
    run_and_remove(&node, &node.image(LAZY), "one")
}
