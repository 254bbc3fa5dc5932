//! A registry that lies.

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    images::{Descriptor, Image, small_app},
    node::{Images, Node},
    proxy::{Fault, Match},
};

/// Bytes that are not the blob's are fetched again; a registry that has no others fails the pull, and nobody sees them.
#[test]
fn wrong_bytes_are_fetched_again_or_refused() -> Result<()> {
    let images = Images::start()?;
    let mut node = Node::builder(Version::Sid).images(&images).start()?;
    let push = |name: &str, seed| -> Result<(String, Descriptor)> {
        let layers = vec![small_app::base_layer()?, small_app::data_layer("data", seed, 3)];
        let layout = Image::new(layers, &small_app::SLEEP).write(&images.path().join(name))?;
        images.push(&layout, &format!("{name}:1"))?;
        Ok((format!("{name}:1"), layout.manifest()?.layers.pop().context("an image without layers")?))
    };
    let (once, layer) = push("once", 6)?;
    let wrong = node.proxy().inject_times(Match::blob(&layer.digest), Fault::Corrupt(layer.size / 2), 1);
    node.cri().pull(&node.image(&once))?;
    ensure!(wrong.hits() == 1, "the fault was not met");
    drop(wrong);
    let container =
        node.start_container(&node.image(&once), &["sh", "-c", "cat /data/* | wc -c; sleep 3600"])?;
    node.remove(&container)?;

    let (always, layer) = push("always", 7)?;
    let wrong = node.proxy().inject(Match::blob(&layer.digest), Fault::Corrupt(layer.size / 2));
    let error = node.cri().pull(&node.image(&always)).err().context("it was pulled")?;
    let error = format!("{error:#}");
    for part in [&node.image(&always), &layer.digest] {
        ensure!(error.contains(part.as_str()), "{part:?} is not in: {error}");
    }
    ensure!(wrong.hits() > 1, "it was not tried again: {error}");
    let layers = node.peel()?.json("layers")?;
    let shown = layers.as_array().into_iter().flatten().filter(|it| it["digest"] == layer.digest.as_str());
    ensure!(shown.clone().all(|it| it["state"] != "readable" && it["state"] != "complete"), "{layers}");
    Ok(())
}
