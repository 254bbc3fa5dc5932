//! The connection is aborted through fusectl: who stands on it is listed, and new containers work.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    images::{Entry, HandMade, Image, Layer, small_app::base_layer},
    node::{App, Images},
    peel::Run,
    wait,
};

use crate::load::{LIMIT, node, read_anew, stats};

/// More layers than fit into mount options as absolute paths: containerd makes them relative, to what nobody sees.
const DEEP: u32 = 80;

fn push_deep(images: &Images) -> Result<()> {
    let mut layers = vec![base_layer()?];
    layers.extend((0..DEEP).map(|number| {
        Layer::gzip(vec![
            Entry::directory("deep"),
            Entry::file(format!("deep/{number}"), format!("{number}\n")),
        ])
    }));
    let image = Image::new(layers, &["/bin/busybox", "sleep", "3600"]);
    let layout = HandMade::default().image(&image)?.write(&images.path().join("deep"))?;
    images.push(&layout, "deep:1").map(drop)
}

fn lower_of(rootfs: &std::path::Path) -> Result<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let line = table
        .lines()
        .find(|line| line.contains(&format!(" {} ", rootfs.display())))
        .context("not mounted")?;
    let lower =
        line.split([',', ' ']).find_map(|option| option.strip_prefix("lowerdir=")).context("no lowerdir")?;
    Ok(lower.to_owned())
}

fn aborted(tree: &str) -> Result<()> {
    let images = Images::start()?;
    let app = App::push(&images, "aborted")?;
    push_deep(&images)?;
    let mut node = node(&images, tree, Run::Supervised)?;
    let (image, deep) = (app.image(&node), node.image("deep:1"));
    node.cri().pull(&image)?;
    node.cri().pull(&deep)?;
    let on_it = [node.start_container(&image, &[])?, node.start_container(&deep, &[])?];
    ensure!(
        !lower_of(&on_it[1].rootfs)?.starts_with('/'),
        "lowerdirs are not relative: this test needs more layers"
    );
    ensure!(lower_of(&on_it[0].rootfs)?.starts_with('/'));

    node.dir().abort_fuse()?;
    let aborted = Instant::now();
    wait::until_true("the next generation", LIMIT, || {
        node.peel().is_ok_and(|peel| peel.json("stats").is_ok_and(|stats| stats["generation"] == 2))
    })?;
    tell(tree, aborted.elapsed());
    let after = node.start_container(&image, &[])?;
    for file in ["data/000", "data/003"] {
        ensure!(read_anew(&after.rootfs.join(file))?.len() == 1 << 20);
    }
    ensure!(read_anew(&on_it[0].rootfs.join("data/002")).is_err(), "it has lost what nobody had read");

    let stranded = |stats: &serde_json::Value| -> Vec<String> {
        let listed = stats["stranded_snapshots"].as_array().cloned().unwrap_or_default();
        listed.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect()
    };
    let listed = stranded(&stats(&mut node)?);
    ensure!(listed.len() == 2, "{listed:?}");
    for container in &on_it {
        ensure!(
            listed.iter().any(|key| key.ends_with(&container.id)),
            "{} is not in {listed:?}",
            container.id
        );
    }
    wait::until_true("the log to name them", LIMIT, || {
        node.peel().is_ok_and(|peel| {
            let log = peel.log();
            on_it.iter().all(|container| log.contains(&container.id))
        })
    })?;
    for container in &on_it {
        node.remove(container)?;
    }
    wait::until_true("nobody to be stranded", LIMIT, || {
        stats(&mut node).is_ok_and(|stats| stranded(&stats).is_empty())
    })?;
    let stats = stats(&mut node)?;
    ensure!(stats["lost_connections"] == 1, "{stats}");
    node.remove(&after)
}

#[expect(clippy::print_stderr, reason = "a measurement, for who runs the test by hand")]
fn tell(tree: &str, after: Duration) {
    eprintln!("{tree}: the next generation after {} ms", after.as_millis());
}

#[test]
fn with_the_kernels_tree() -> Result<()> {
    aborted("erofs")
}

#[test]
fn with_the_fuse_tree() -> Result<()> {
    aborted("fuse")
}
