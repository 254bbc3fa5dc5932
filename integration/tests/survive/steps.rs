//! The daemon dies at each step of what it does for layers, and what it leaves fits together.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    node::{App, Images, Node},
    peel::{Launch, Run},
    wait,
};

use crate::load::{LIMIT, answers};

/// Remove itself is not among them: containerd asks again for one that failed at its next garbage collection, and nobody
/// knows when that is.
const STEPS: [&str; 8] = [
    "adopt: stored",
    "publish: written",
    "publish: in its place",
    "slot: stored",
    "slot: given",
    "mounts: made",
    "slot: deleted",
    "reap: sources forgotten",
];

/// Of a layer that is streamed.
const STREAMED: [&str; 4] = [
    "publish streamed: written",
    "publish streamed: data moved",
    "publish streamed: cached without an index",
    "publish streamed: in its place",
];

/// containerd's garbage collection comes within seconds, Peel's own right after it. The slower the disk, the longer
/// containerd waits between two.
const GONE: Duration = Duration::from_secs(90);

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().display().to_string()).collect()
}

/// As a kubelet does it: what fails is tried again.
fn until_it_runs(node: &Node, app: &App) -> Result<()> {
    wait::until("the image to run", LIMIT, || {
        Ok(node.cri().pull(&app.image(node)).and_then(|_| app.run(node)).ok())
    })
}

fn dies_at(step: &str, images: &std::sync::Arc<Images>, app: &App) -> Result<()> {
    let marker = images.path().join(step.replace([':', ' '], "-"));
    let failpoint = ("PEEL_FAILPOINT".to_owned(), format!("{step}={}", marker.display()));
    let config = toml::toml! {
        [cache]
        unreferenced_ttl = "1s"
        interval = "200ms"
    };
    let launch = Launch { run: Run::Supervised, environment: vec![failpoint], ..Launch::default() };
    let mut node =
        Node::builder(Version::Debian12).images(images).peel_config(config).run_peel(launch).start()?;
    until_it_runs(&node, app)?;
    // Once more, so that the daemon had something to lose.
    until_it_runs(&node, app)?;
    wait::until("the image to go", LIMIT, || Ok(node.cri().remove_image(&app.image(&node)).ok()))?;
    let root = node.peel()?.root();
    wait::until_true("the layers to go", GONE, || entries(&root.join("index")).is_empty())?;
    answers(&node)?;
    let layers = node.peel()?.json("layers")?.to_string();
    ensure!(!layers.contains(&app.top), "{layers}");
    let cached = entries(&root.join("cache"));
    ensure!(
        !cached.iter().any(|name| app.top.contains(name.split('-').next().unwrap_or(name))),
        "{cached:?}"
    );
    ensure!(marker.exists(), "it was never there");
    // And all of it comes back.
    until_it_runs(&node, app)
}

#[test]
fn the_daemon_dies_at_every_step() -> Result<()> {
    let images = Images::start()?;
    let app = App::push(&images, "steps")?;
    at_each_of(&STEPS, &images, &app)
}

#[test]
fn the_daemon_dies_at_every_step_of_a_streamed_layer() -> Result<()> {
    let images = Images::start()?;
    let app = App::push_plain(&images, "streamed")?;
    at_each_of(&STREAMED, &images, &app)
}

fn at_each_of(steps: &[&str], images: &std::sync::Arc<Images>, app: &App) -> Result<()> {
    steps.iter().try_for_each(|step| dies_at(step, images, app).with_context(|| format!("dying at {step:?}")))
}
