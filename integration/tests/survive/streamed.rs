//! Killed while a layer without an index is streamed.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    cri::Pull,
    images::{Content, Entry, Image, Layer, small_app::base_layer},
    node::Images,
    peel::Run,
    proxy::{Fault, Match, Shape},
    wait,
};
use rustix::process::Signal;

use crate::load::{LIMIT, answers, node, read_anew, signal};

const KILLS: u32 = 12;
const LENGTH: u64 = 48 << 20;
/// Slow enough that a kill comes while bytes do.
const SLOW: Shape = Shape { first_byte: Duration::ZERO, bytes_per_second: Some(2 << 20) };
/// What a request brings at most until all kills are done: all lives together do not come to the end, however long a
/// busy machine makes them.
const PART: u64 = 2 << 20;

fn content() -> Content {
    Content::Noise { seed: 9_200, length: LENGTH }
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}

/// Whoever kills the daemon is not the layer: it is streamed on, from what came, and lazy in the end.
#[test]
fn a_pull_goes_on_after_every_kill() -> Result<()> {
    let images = Images::start()?;
    let layers = vec![base_layer()?, Layer::gzip(vec![Entry::file("data", content())])];
    let layout =
        Image::new(layers, &["/bin/busybox", "sleep", "3600"]).write(&images.path().join("large"))?;
    images.push(&layout, "large:1")?;
    let layer = layout.manifest()?.layers.pop().context("an image without layers")?.digest;
    let mut node = node(&images, "auto", Run::Supervised)?;
    let image = node.image("large:1");
    let staged = node.peel()?.root().join("cache/stream").join(layer.trim_start_matches("sha256:"));
    node.proxy().set_shape(SLOW);
    let reads = Match::blob(&layer).from_agent("peel");
    // Each life asks once: it goes on with the layer by itself, and the pull finds it at work.
    let _part = node.proxy().inject_times(reads.clone(), Fault::StallAfter(PART), KILLS);
    // What was there at the last kill, and the requests until then.
    let (mut before, mut asked) = (0, 0);
    for kill in 0..KILLS {
        let pull = node.cri().start_pull(&image, Pull::default())?;
        wait::until_true("the layer to be streamed on", LIMIT, || {
            pull.is_finished() || size(&staged.join("blob")) > before
        })?;
        ensure!(!pull.is_finished(), "{:?}", pull.wait());
        let requests = node.proxy().requests_of(&reads);
        let resumed = requests[asked..].iter().filter_map(|record| record.request.range.clone());
        ensure!(resumed.clone().all(|range| range.start >= before), "fetched again: {before} {resumed:?}");
        thread::sleep(Duration::from_millis(u64::from(kill) * 7919 % 101));
        signal(&mut node, Signal::KILL)?;
        (before, asked) = (size(&staged.join("blob")), node.proxy().requests_of(&reads).len());
        ensure!(pull.wait().is_err(), "a pull outlived the daemon");
        answers(&node)?;
    }
    node.proxy().set_shape(Shape::default());
    node.cri().pull(&image)?;
    let log = node.peel()?.log();
    ensure!(
        !log.contains("being executed whenever the daemon died"),
        "the guard took a kill for a crash: {log}"
    );
    ensure!(node.peel()?.json("layers")?.to_string().contains(&layer), "it became an ordinary pull");
    let container = node.start_container(&image, &[])?;
    let mut expected = Vec::new();
    content().copy_to(&mut expected)?;
    ensure!(read_anew(&container.rootfs.join("data"))? == expected);
    Ok(())
}
