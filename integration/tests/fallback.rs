//! Images that Peel leaves to containerd: what it cannot serve ends as on overlayfs, and what it may not read is
//! pulled the ordinary way at the second attempt.
//!
//! ```text
//! cargo test -p peel-integration --test fallback    # as root, on Debian 12, with peel built
//! ```

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    cri::Pull,
    images::{
        Layout,
        small_app::{MEDIA_TYPE_ENCRYPTED, MEDIA_TYPE_UNKNOWN, lazy_app_image},
    },
    node::{Images, Node, Snapshotter},
    proxy::Match,
    wait,
};
use serde_json::Value;

/// Images of which one layer is of a type that Peel does not know.
const FOREIGN: [(&str, &str); 2] =
    [("app:encrypted", MEDIA_TYPE_ENCRYPTED), ("app:unknown", MEDIA_TYPE_UNKNOWN)];
const PRIVATE: &str = "app:private";

/// containerd's GC comes within seconds; the slower the disk, the longer it waits between two.
const GC: Duration = Duration::from_secs(90);

/// Pushes an image in which the topmost layer claims each foreign type, and one in which all is well.
fn images() -> Result<(std::sync::Arc<Images>, Layout)> {
    let images = Images::start()?;
    let lazy = lazy_app_image("private")?.write(&images.path().join("lazy"))?;
    images.push(&lazy, PRIVATE)?;
    for (name, media_type) in FOREIGN {
        let copy = lazy.derive(&images.path().join(name), |manifest| {
            if let Some(top) = manifest.layers.last_mut() {
                media_type.clone_into(&mut top.media_type);
            }
        })?;
        images.push(&copy, name)?;
    }
    Ok((images, lazy))
}

/// How pull and start of an image end: what the container says, or the error without what differs between any two
/// pulls.
fn outcome(node: &Node, name: &str) -> Result<String, String> {
    let image = node.image(name);
    let run = || -> Result<String> {
        node.cri().pull(&image)?;
        let container = node.start_container(&image, &[])?;
        let text = node.exec(&container, &["cat", "/app/variant"])?.text();
        node.remove(&container)?;
        Ok(text)
    };
    run().map_err(|error| {
        let text = format!("{error:#}").replace(&node.proxy().address().to_string(), "REGISTRY");
        // Keys of extraction snapshots have a time in them, and the snapshotter's name comes before.
        let mut words: Vec<&str> = text.split(' ').collect();
        if let Some(place) = words.iter().position(|word| word.contains("\"extract-")) {
            words.drain(place.saturating_sub(2)..=place);
        }
        words.join(" ")
    })
}

fn foreign_layers_end_as_on_overlayfs(version: Version) -> Result<()> {
    let (images, _) = images()?;
    let overlayfs = Node::builder(version).snapshotter(Snapshotter::Overlayfs).images(&images).start()?;
    let expected = FOREIGN.map(|(name, _)| outcome(&overlayfs, name));
    drop(overlayfs);
    let mut node = Node::builder(version).images(&images).start()?;
    for ((name, media_type), expected) in FOREIGN.into_iter().zip(expected) {
        let found = outcome(&node, name);
        ensure!(found == expected, "{name}: on Peel {found:?}, on overlayfs {expected:?}");
        // Where containerd itself gives up before it asks the snapshotter, there is no decision to show.
        let asked = node.peel()?.log().contains(&node.image(name));
        let shown = node.peel()?.json("stats")?.to_string().contains(media_type);
        ensure!(shown == asked, "{name}: {expected:?}\n{}", node.peel()?.log_tail(20));
    }
    let by_peel = node.proxy().requests_of(&Match::all().from_agent("peel"));
    ensure!(by_peel.is_empty(), "Peel asked the registry: {by_peel:?}");
    Ok(())
}

/// The layers of `image` as `peel layers` shows them.
fn layers_of(node: &mut Node, image: &str) -> Result<Vec<Value>> {
    let report = node.peel()?.json("layers")?;
    let layers = report["layers"].as_array().or(report.as_array()).context("no list of layers")?;
    Ok(layers.iter().filter(|layer| layer["image"] == image).cloned().collect())
}

fn a_private_image_is_ordinary_at_the_second_attempt(version: Version) -> Result<()> {
    let (images, lazy) = images()?;
    let mut node = Node::builder(version).images(&images).start()?;
    let (image, host) = (node.image(PRIVATE), node.proxy().address());
    node.proxy().require_basic("somebody", "secret");
    let pull = |node: &Node| node.cri().pull_with(&image, Pull::basic("somebody", "secret"));

    let error = match pull(&node) {
        Ok(_) => anyhow::bail!("Peel has no password and pulled it"),
        Err(error) => format!("{error:#}"),
    };
    let lowest = &lazy.manifest()?.layers[0].digest;
    for part in [&format!("peel: image {image}"), lowest, &format!("at {host}: unauthorized"), "credentials"]
    {
        ensure!(error.contains(part), "{part:?} is not in: {error}");
    }
    ensure!(error.matches("peel: image").count() == 1, "said more than once: {error}");
    let by_containerd = Match::blobs().from_agent("containerd");
    let blobs = node.proxy().requests_of(&by_containerd).len();

    // containerd lets go of the failed snapshots soon after.
    wait::until("containerd's GC", GC, || Ok(layers_of(&mut node, &image)?.is_empty().then_some(())))?;
    pull(&node)?;
    ensure!(node.proxy().requests_of(&by_containerd).len() > blobs, "containerd fetched nothing");
    let layers = layers_of(&mut node, &image)?;
    ensure!(layers.len() == lazy.manifest()?.layers.len(), "{layers:?}");
    for layer in layers {
        let reason = layer["reason"].as_str().unwrap_or_default();
        ensure!(layer["state"] == "ordinary" && reason.contains("an earlier attempt failed"), "{layer}");
        ensure!(reason.contains("unauthorized"), "{layer}");
    }
    let container = node.start_container(&image, &[])?;
    ensure!(node.exec(&container, &["cat", "/app/variant"])?.text() == "private");
    node.remove(&container)
}

#[test]
fn foreign_layers_on_1_6() -> Result<()> {
    foreign_layers_end_as_on_overlayfs(Version::Debian12)
}

#[test]
fn foreign_layers_on_2() -> Result<()> {
    foreign_layers_end_as_on_overlayfs(Version::Sid)
}

#[test]
fn private_image_on_1_6() -> Result<()> {
    a_private_image_is_ordinary_at_the_second_attempt(Version::Debian12)
}

#[test]
fn private_image_on_2() -> Result<()> {
    a_private_image_is_ordinary_at_the_second_attempt(Version::Sid)
}
