//! A pull that dies with the daemon.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    cri::Pull,
    images::{Descriptor, Image, small_app},
    node::{Images, Node},
    proxy::{Fault, Match},
    wait,
};

/// Longest wait for something to begin.
const SOON: Duration = Duration::from_secs(60);
/// Where the download of the upper layer stops until the daemon was killed: about a third of it.
const STOP: u64 = 8 << 20;

/// A pull is killed with the daemon in the middle of a layer's download; the next one goes on there. What was streamed
/// is shown and read without the registry, also by the next daemon.
fn killed_resumed_and_offline(version: Version) -> Result<()> {
    let images = Images::start()?;
    let image =
        Image::new(vec![small_app::base_layer()?, small_app::data_layer("data", 5, 24)], &small_app::SLEEP);
    let layout = image.write(&images.path().join("plain"))?;
    images.push(&layout, "plain:1")?;
    let top = layout.manifest()?.layers.pop().context("an image without layers")?;
    ensure!(top.size > 2 * STOP, "the layer has only {} bytes", top.size);
    let reads = Match::blob(&top.digest).from_agent("peel");
    let mut node = Node::builder(version).images(&images).start()?;
    let name = node.image("plain:1");

    let stall = node.proxy().inject(reads.clone(), Fault::StallAfter(STOP));
    let pull = node.cri().start_pull(&name, Pull::default())?;
    wait::until("the download to stop", SOON, || Ok((node.proxy().bytes_of(&reads) >= STOP).then_some(())))?;
    ensure_shown(&mut node, &name, &top)?;
    node.peel()?.kill()?;
    ensure!(pull.wait().is_err(), "the pull went well without a daemon");
    drop(stall);
    // The new daemon may go on by itself, before anybody pulls.
    node.proxy().clear();
    node.peel()?.start_again()?;
    node.wait_for_peel()?;
    node.cri().pull(&name)?;
    let again = node.proxy().requests_of(&reads);
    let start = again.first().and_then(|record| record.request.range.clone()).map(|range| range.start);
    ensure!(again.len() == 1 && start.is_some_and(|start| start > 0), "not where it stopped: {again:?}");
    let layers = node.peel()?.json("layers")?.to_string();
    ensure!(layers.contains(&top.digest) && layers.contains("gzip"), "{layers}");

    let sums = |node: &Node| -> Result<String> {
        let container = node.start_container(&name, &[])?;
        let said = node.exec(&container, &["sh", "-c", "cat /data/* | sha256sum; ls /data | wc -l"])?;
        node.remove(&container)?;
        Ok(said.text().to_owned())
    };
    let _down = node.proxy().inject(Match::all(), Fault::Disconnect);
    let first = sums(&node)?;
    ensure!(first.contains("24"), "{first}");
    node.peel()?.restart()?;
    node.wait_for_peel()?;
    ensure!(sums(&node)? == first, "other bytes after a restart");
    Ok(())
}

/// `peel pulls` and `peel layers` say how far the layer is.
fn ensure_shown(node: &mut Node, name: &str, top: &Descriptor) -> Result<()> {
    // What arrived is counted once it was decoded.
    let shown = wait::until("progress to be shown", SOON, || {
        let pulls = node.peel()?.json("pulls")?;
        let of_image = pulls.as_array().into_iter().flatten().find(|pull| pull["image"] == name);
        let layers = of_image.and_then(|pull| pull["layers"].as_array()).into_iter().flatten();
        let mut layer = layers.filter(|layer| layer["digest"] == top.digest.as_str());
        Ok(layer.find(|layer| layer["downloaded_bytes"].as_u64() > Some(STOP / 2)).cloned())
    })?;
    ensure!(shown["state"] == "streaming" && shown["format"] == "gzip", "{shown}");
    ensure!(shown["size"] == top.size && shown["downloaded_bytes"].as_u64() < Some(2 * STOP), "{shown}");
    // containerd 1.6 announces a layer once the one below is readable; in between the image has none that is waited for.
    let line = wait::until("a line for the layer", SOON, || {
        let text = node.peel()?.command(&["pulls"])?;
        Ok(text.lines().find(|line| line.contains(&top.digest[..19])).map(str::to_owned))
    })?;
    for part in [name, "gzip", "streaming", "MiB /"] {
        ensure!(line.contains(part), "{part:?} is not in {line:?}");
    }
    let layer = wait::until("the layer to be listed", SOON, || {
        let layers = node.peel()?.json("layers")?;
        let mut layers = layers.as_array().into_iter().flatten();
        Ok(layers.find(|layer| layer["digest"] == top.digest.as_str()).cloned())
    })?;
    ensure!(layer["streamed"] == true && layer["download_bytes"] == top.size, "{layer}");
    ensure!(layer["downloaded_bytes"].as_u64() > Some(STOP / 2), "{layer}");
    ensure!(layer["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{layer}");
    Ok(())
}

#[test]
fn killed_resumed_and_offline_on_1_6() -> Result<()> {
    killed_resumed_and_offline(Version::Debian12)
}

#[test]
fn killed_resumed_and_offline_on_2() -> Result<()> {
    killed_resumed_and_offline(Version::Sid)
}
