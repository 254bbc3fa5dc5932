//! Lazy layers are read whole in the background, and what their images claim of them is proven or found out.
//!
//! ```text
//! cargo test -p peel-integration --test proof    # as root, on Debian 12, with peel built
//! ```
//!
//! The node's Peel leaves layers lazy, until a test restarts it with `fetch.complete`: so the window in which a lie is
//! believed is as long as the test wants it, and what is to be read is found again after a restart.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use peel_integration::{
    containerd::Version,
    cri::ContainerSpec,
    images::{
        Content, Destination, Entry, HandMade, Image, Layer, SociImage,
        small_app::{SLEEP, base_layer},
    },
    node::{Container, Images, Node},
    proxy::{Fault, Match},
    wait,
};
use peel_layer::testing::{EStargz, EStargzWriter, TarEntry};
use serde_json::Value;

/// The annotation of an eStargz layer.
const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// Longest wait for layers of a MiB to be read whole, or for containerd to find Peel or collect its garbage.
const SOON: Duration = Duration::from_secs(90);

struct Ground {
    node: Node,
    base: Layer,
}

impl Ground {
    fn start() -> Result<Self> {
        let config = toml::toml! {
            [cache]
            unreferenced_ttl = "1s"
            interval = "200ms"
        };
        let node = Node::builder(Version::Debian12).images(&Images::start()?).peel_config(config).start()?;
        Ok(Self { node, base: HandMade::default().estargz(base_layer()?.entries())? })
    }

    /// Pushes busybox with `layer` on top; gives the node's name for the image.
    fn push(&self, name: &str, layer: Layer) -> Result<String> {
        let image = Image::new(vec![self.base.clone(), layer], &SLEEP);
        let name = format!("{name}:it");
        self.node.images().push_image(&image, &name)?;
        Ok(self.node.image(&name))
    }

    /// A new daemon over the same state.
    fn restart(&mut self, complete: bool) -> Result<()> {
        let mut settings = toml::toml! {
            [fetch]
            complete_after = "500ms"
        };
        settings["fetch"].as_table_mut().context("a section")?.insert("complete".into(), complete.into());
        self.node.peel()?.restart_with(&settings)?;
        self.node.wait_for_peel()
    }

    /// What `peel layers` says of the layers of an image.
    fn layers(&mut self, image: &str) -> Result<Vec<Value>> {
        let layers = self.node.peel()?.json("layers")?;
        let layers = layers.as_array().context("a list of layers")?;
        Ok(layers.iter().filter(|layer| layer["image"] == image).cloned().collect())
    }

    fn cat(&self, container: &Container) -> Result<String> {
        Ok(self.node.exec(container, &["/bin/sh", "-c", "exec 2>&1; cat /f"])?.text())
    }
}

/// The text of what must fail.
fn failure(outcome: Result<String>) -> Result<String> {
    match outcome {
        Ok(id) => bail!("it went well: {id}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// A layer with the file `/f`.
fn file(content: &str) -> EStargz {
    EStargzWriter::new().entry(&TarEntry::file("f", content.as_bytes())).finish()
}

/// `blob` under a diff id.
fn layer(blob: &EStargz, diff_id: impl ToString) -> Layer {
    Layer::blob(blob.blob.clone(), diff_id.to_string()).annotation(TOC_DIGEST, blob.toc_digest.to_string())
}

/// 2.1 MB in three files.
fn noise() -> [Entry; 3] {
    [1, 2, 3].map(|seed| Entry::file(format!("n{seed}"), Content::Noise { seed, length: 700_000 }))
}

#[test]
fn an_honest_image_is_proven_and_needs_no_registry_any_more() -> Result<()> {
    let mut ground = Ground::start()?;
    let image = ground.push("honest", HandMade::default().estargz(&noise())?)?;
    is_proven(&mut ground, &image)
}

/// Its ztocs say what is decoded how; whether that is the layer is found out in the same way.
#[test]
fn an_honest_image_with_a_soci_index_too() -> Result<()> {
    let mut ground = Ground::start()?;
    let images = Arc::clone(ground.node.images());
    let image = Image::new(vec![base_layer()?, Layer::gzip(noise().to_vec())], &SLEEP);
    let soci = SociImage::write(&image, &images.path().join("plain"), |_, _| {})?;
    let destination = Destination::new(images.address().to_string(), "soci", "it");
    soci.push_v2(&destination, &images.path().join("bound"), true)?;
    let image = ground.node.image("soci:it");
    is_proven(&mut ground, &image)?;
    let layers = ground.layers(&image)?;
    ensure!(layers.iter().all(|layer| layer["format"] == "soci"), "{layers:?}");
    Ok(())
}

/// Of two lazy layers, the upper one with [`noise`].
fn is_proven(ground: &mut Ground, image: &str) -> Result<()> {
    ground.node.cri().pull(image)?;
    let layers = ground.layers(image)?;
    ensure!(layers.len() == 2 && layers.iter().all(|layer| layer["proven"] == false), "{layers:?}");
    ensure!(layers.iter().any(|layer| layer["state"] == "readable"), "{layers:?}");

    ground.restart(true)?;
    wait::until("all of it to be read", SOON, || {
        let layers = ground.layers(image)?;
        let is_done = |layer: &Value| layer["proven"] == true && layer["state"] == "complete";
        Ok((layers.len() == 2 && layers.iter().all(is_done)).then_some(()))
    })?;
    ensure!(ground.node.peel()?.json("stats")?["events"]["layers_quarantined"] == 0);

    // Known for good: neither this daemon nor the next asks the registry for anything.
    let blobs = Match::blobs().from_agent("peel");
    let before = ground.node.proxy().requests_of(&blobs).len();
    let _gone = ground.node.proxy().inject(Match::all(), Fault::Disconnect);
    ground.restart(true)?;
    let container = ground.node.start_container(image, &[])?;
    let sums = ground.node.exec(&container, &["/bin/sh", "-c", "cat /n1 /n2 /n3 | wc -c"])?;
    ensure!(sums.text().trim() == "2100000", "{sums:?}");
    ground.node.remove(&container)?;
    let layers = ground.layers(image)?;
    ensure!(layers.iter().all(|layer| layer["proven"] == true), "{layers:?}");
    let after = ground.node.proxy().requests_of(&blobs).len();
    ensure!(after == before, "{} requests", after - before);
    Ok(())
}

#[test]
fn a_lie_about_the_diff_id_is_believed_for_a_while_and_then_never_again() -> Result<()> {
    let mut ground = Ground::start()?;
    let (claimed, claimer) = (file("the right one"), file("another one"));
    let victim = ground.push("victim", layer(&claimed, claimed.diff_id))?;
    let liar = ground.push("liar", layer(&claimer, claimed.diff_id))?;

    // The window: the liar is there first, and stands in for the victim.
    ground.node.cri().pull(&liar)?;
    ground.node.cri().pull(&victim)?;
    let running = ground.node.start_container(&victim, &[])?;
    ensure!(ground.cat(&running)? == "another one");

    ground.restart(true)?;
    let found = wait::until("the lie to be found", SOON, || {
        let layers = ground.layers(&liar)?;
        Ok(layers.into_iter().find(|layer| layer["state"] == "quarantined"))
    })?;
    let (right, wrong) = (claimer.diff_id.to_string(), claimed.diff_id.to_string());
    let says = |text: &str| -> Result<()> {
        for part in [liar.as_str(), &claimer.layer().to_string(), &right, &wrong, "remove the image"] {
            ensure!(text.contains(part), "{part:?} is not in: {text}");
        }
        Ok(())
    };
    says(found["error"].as_str().unwrap_or_default())?;
    let containers = found["containers"].to_string();
    ensure!(containers.contains(&running.id), "{containers}");
    // It is refused before anything else happens.
    wait::until("log and counters to say so", SOON, || {
        let peel = ground.node.peel()?;
        let log = peel.log();
        let logged = log.contains("it is in quarantine") && log.contains(&running.id);
        Ok((logged && peel.json("stats")?["events"]["layers_quarantined"] == 1).then_some(()))
    })?;
    // The layer below is honest.
    wait::until("the layer below to be read", SOON, || {
        Ok(ground.layers(&liar)?.iter().any(|layer| layer["proven"] == true).then_some(()))
    })?;

    // Who runs goes on; nobody else gets it, and not after a restart either.
    for _ in 0..2 {
        ensure!(ground.cat(&running)? == "another one");
        for image in [&victim, &liar] {
            let pod = ground.node.run_pod()?;
            says(&failure(ground.node.cri().create_container(&pod, &ContainerSpec::new(image, &[])))?)?;
            ground.node.cri().remove_pod(&pod.id)?;
            says(&failure(ground.node.cri().pull(image))?)?;
        }
        ground.restart(false)?;
    }

    // The remedy.
    ground.node.remove(&running)?;
    ground.node.cri().remove_image(&liar)?;
    ground.node.cri().remove_image(&victim)?;
    wait::until("the layer to go", SOON, || Ok(ground.layers(&liar)?.is_empty().then_some(())))?;
    ground.node.cri().pull(&victim)?;
    let container = ground.node.start_container(&victim, &[])?;
    ensure!(ground.cat(&container)? == "the right one");
    ground.node.remove(&container)
}

/// As above, without an index: it is read whole before anybody sees it, so there is no window.
#[test]
fn a_plain_blob_that_lies_about_its_diff_id_is_never_served() -> Result<()> {
    let mut ground = Ground::start()?;
    let (claimed, claimer) = (file("the right one"), file("another one"));
    let plain = |blob: &EStargz| Layer::blob(blob.blob.clone(), claimed.diff_id.to_string());
    let victim = ground.push("victim", plain(&claimed))?;
    let liar = ground.push("liar", plain(&claimer))?;
    let wrong = claimer.diff_id.to_string();
    // The liar is there first.
    let refused = failure(ground.node.cri().pull(&liar))?;
    for part in [liar.as_str(), &claimer.layer().to_string(), &wrong, "the image's config says"] {
        ensure!(refused.contains(part), "{part:?} is not in: {refused}");
    }
    // The retry is an ordinary pull, once containerd has forgotten the failed snapshots; it finds out as well.
    wait::until("containerd's GC", SOON, || Ok(ground.layers(&liar)?.is_empty().then_some(())))?;
    let refused = failure(ground.node.cri().pull(&liar))?;
    ensure!(!refused.contains("peel:"), "{refused}");
    ground.node.cri().pull(&victim)?;
    let container = ground.node.start_container(&victim, &[])?;
    ensure!(ground.cat(&container)? == "the right one");
    // The victim is there, and another namespace has the liar.
    let pull = ["images", "pull", "--plain-http", "--snapshotter", "peel", &liar];
    let refused = failure(ground.node.ctr_in("another", &pull))?;
    ensure!(refused.contains("wrong diff id"), "{refused}");
    ground.node.remove(&container)
}
