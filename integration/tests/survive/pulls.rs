//! Killed while pulls wait in the gate.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use peel_integration::{
    containerd::Version,
    cri::Pull,
    node::{App, Images, Node},
    peel::Run,
};
use rustix::process::Signal;

use crate::load::{answers, signal};

/// Longest wait for something to begin.
const SOON: Duration = Duration::from_secs(60);

/// What containerd lists.
fn images_of(node: &Node) -> Result<BTreeSet<String>> {
    Ok(node.cri().images()?.into_iter().flat_map(|image| image.repo_tags).collect())
}

/// Each fails once and says why; the next attempt goes on from the bytes on disk, and no image is forgotten, neither
/// then nor by a containerd that starts anew.
fn pulls_go_on(version: Version) -> Result<()> {
    let images = Images::start()?;
    let kept = App::push(&images, "kept")?;
    let apps = ["one", "two", "three"].map(|name| App::push(&images, name));
    let apps = apps.into_iter().collect::<Result<Vec<_>>>()?;
    let mut node = Node::builder(version).images(&images).run_peel(Run::Supervised).start()?;
    node.cri().pull(&kept.image(&node))?;
    let before = images_of(&node)?;
    // By then their indexes are on disk.
    let holds: Vec<_> = apps.iter().map(|app| node.proxy().hold(app.content_reads())).collect();
    let pulls = apps.iter().map(|app| node.cri().start_pull(&app.image(&node), Pull::default()));
    let pulls = pulls.collect::<Result<Vec<_>>>()?;
    for hold in &holds {
        hold.wait_for(1, SOON)?;
    }
    signal(&mut node, Signal::KILL)?;
    for pull in pulls {
        let error = match pull.wait() {
            Ok(id) => bail!("the pull went well: {id}"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(error.to_lowercase().contains("unavailable"), "{error}");
    }
    answers(&node)?;
    ensure!(images_of(&node)? == before, "{:?}", images_of(&node)?);
    drop(holds);
    for app in &apps {
        node.cri().pull(&app.image(&node)).with_context(|| format!("the second attempt at {}", app.top))?;
        let reads = node.proxy().requests_of(&app.index_reads());
        ensure!(reads.len() == 1, "the index was fetched again: {reads:?}");
        app.run(&node)?;
    }
    kept.run(&node)?;
    let all = images_of(&node)?;
    ensure!(before.is_subset(&all) && all.len() == before.len() + apps.len(), "{all:?}");
    node.restart_containerd()?;
    ensure!(images_of(&node)? == all, "containerd forgot some: {:?}", images_of(&node)?);
    Ok(())
}

#[test]
fn on_1_6() -> Result<()> {
    pulls_go_on(Version::Debian12)
}

#[test]
fn on_2() -> Result<()> {
    pulls_go_on(Version::Sid)
}
