//! The gate: who waits for a layer, for how long, and who does not.
//!
//! ```text
//! cargo test -p peel-integration --test gate    # as root, on Debian 12, with peel built
//! ```
//!
//! A registry that does not answer is a [`Hold`]; while it is in force, whatever comes to its end did not wait for
//! the layer. The scenarios of one containerd share a node, each has an image of its own.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use peel_integration::{
    containerd::Version,
    cri::{ContainerSpec, Pull},
    node::{App, Images, Node},
    proxy::{Fault, Hold, Match},
    wait,
};

/// Longest wait for something to begin: a pull reaches Peel within a second, on a busy machine some more.
const SOON: Duration = Duration::from_secs(60);

/// The text of a pull that must fail.
fn failure(pull: Result<String>) -> Result<String> {
    match pull {
        Ok(id) => bail!("the pull went well: {id}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn ensure_says(error: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(error.contains(part), "{part:?} is not in: {error}");
    }
    Ok(())
}

/// Listing, pulls, Prepares and GC go on while a pull waits in the gate.
fn others_go_on(node: &mut Node, images: &Images) -> Result<()> {
    let (held, other, late) =
        (App::push(images, "held")?, App::push(images, "other")?, App::push(images, "late")?);
    node.cri().pull(&other.image(node))?;
    let hold = node.proxy().hold(held.index_reads());
    let pull = node.cri().start_pull(&held.image(node), Pull::default())?;
    hold.wait_for(1, SOON)?;

    let list = node.ctr(&["snapshots", "--snapshotter", "peel", "ls"])?;
    ensure!(list.contains("sha256:"), "{list}");
    other.run(node)?;
    let parent = list.split_whitespace().find(|word| word.starts_with("sha256:")).context("no snapshot")?;
    node.ctr(&["snapshots", "--snapshotter", "peel", "prepare", "mine", parent])?;
    node.ctr(&["snapshots", "--snapshotter", "peel", "rm", "mine"])?;
    node.cri().pull(&late.image(node))?;
    late.run(node)?;
    // RemoveImage answers after containerd's GC.
    node.cri().remove_image(&other.image(node))?;
    let layers = node.peel()?.json("layers")?.to_string();
    ensure!(!layers.contains(&other.top) && layers.contains(&late.top), "{layers}");
    ensure!(layers.contains(r#""state":"resolving""#), "{layers}");
    node.peel()?.json("stats")?;

    ensure!(!pull.is_finished(), "the pull did not wait");
    hold.release();
    pull.wait()?;
    held.run(node)
}

/// A client that goes away, by cancelling or at its deadline, does not take the work with it: the next pull finds it.
fn clients_leave(node: &Node, images: &Images) -> Result<()> {
    let app = App::push(images, "left")?;
    let hold = node.proxy().hold(app.index_reads());
    let pull = node.cri().start_pull(&app.image(node), Pull::default())?;
    hold.wait_for(1, SOON)?;
    pull.cancel();
    failure(node.cri().pull_with(&app.image(node), Pull::within(Duration::from_millis(500))))?;
    let pull = node.cri().start_pull(&app.image(node), Pull::default())?;
    ensure!(hold.waiting() == 1, "{} requests for one index", hold.waiting());
    hold.release();
    pull.wait()?;
    let reads = node.proxy().requests_of(&app.index_reads());
    ensure!(reads.len() == 1, "the index was fetched again: {reads:?}");
    app.run(node)
}

/// A daemon that dies in the gate: that pull fails, the next one works, and what containerd reads itself is there
/// when it does. `held` is what the pull waits for when it happens.
fn daemon_dies(node: &mut Node, app: &App, held: Match, end: fn(&mut Node) -> Result<()>) -> Result<()> {
    let hold = node.proxy().hold(held);
    let pull = node.cri().start_pull(&app.image(node), Pull::default())?;
    hold.wait_for(1, SOON)?;
    end(node)?;
    let error = failure(pull.wait())?.to_lowercase();
    ensure_says(&error, &["unavailable"])?;
    node.peel()?.start_again()?;
    node.wait_for_peel()?;
    hold.release();
    node.cri().pull(&app.image(node))?;
    ensure_volume_is_here(node, app)?;
    app.run(node)
}

/// CreateContainer, which copies the `VOLUME`, needs no registry.
fn ensure_volume_is_here(node: &Node, app: &App) -> Result<()> {
    // Read-ahead may ask it for the volume's neighbours; nobody waits for that.
    let _down = node.proxy().inject(Match::all(), Fault::Disconnect);
    let pod = node.run_pod()?;
    let container = node.cri().create_container(&pod, &ContainerSpec::new(&app.image(node), &[]))?;
    node.cri().remove_container(&container)?;
    node.cri().remove_pod(&pod.id)
}

/// A blob that is not there is a failed pull that says so, once; the image stays Peel's.
fn blob_is_missing(node: &mut Node, images: &Images) -> Result<()> {
    let app = App::push(images, "missing")?;
    let fault = node.proxy().inject(app.reads(), Fault::status(404));
    let error = failure(node.cri().pull(&app.image(node)))?;
    let host = format!("at {}: not found", node.proxy().address());
    ensure_says(&error, &[&format!("peel: image {}", app.image(node)), &app.top, &host])?;
    ensure!(error.matches("peel: image").count() == 1, "said more than once: {error}");
    drop(fault);
    node.cri().pull(&app.image(node))?;
    app.run(node)?;
    let eager = node.proxy().requests_of(&Match::blob(&app.top).from_agent("containerd"));
    ensure!(eager.is_empty(), "containerd fetched the layer: {eager:?}");
    Ok(())
}

/// What a failed pull left is nobody's, and GC takes it, but not from under the next pull, which found it. (On 1.6
/// the image would be there and its snapshots not, and no container of it could be made.)
fn gc_runs_after_a_failed_pull(node: &mut Node, images: &Images) -> Result<()> {
    let (app, other) = (App::push(images, "left-over")?, App::push(images, "taken")?);
    node.cri().pull(&other.image(node))?;
    let fault = node.proxy().inject(app.reads(), Fault::status(404));
    failure(node.cri().pull(&app.image(node)))?;
    drop(fault);
    let hold = node.proxy().hold(app.index_reads());
    let pull = node.cri().start_pull(&app.image(node), Pull::default())?;
    hold.wait_for(1, SOON)?;
    // RemoveImage answers after containerd's GC.
    node.cri().remove_image(&other.image(node))?;
    wait::until("the layer that is pulled", SOON, || {
        Ok(node.peel()?.json("layers")?.to_string().contains(&app.top).then_some(()))
    })?;
    hold.release();
    pull.wait()?;
    app.run(node)
}

/// A registry that says nothing: the pull ends after `pull.timeout` and says so; the daemon is well, and what comes
/// at last is used.
fn registry_is_silent(node: &mut Node, images: &Images) -> Result<()> {
    let (app, other) = (App::push(images, "silent")?, App::push(images, "heard")?);
    node.peel()?.restart_with(&"[pull]\ntimeout = \"2s\"".parse()?)?;
    node.wait_for_peel()?;
    let hold: Hold = node.proxy().hold(app.reads());
    // Whose patience ended, the text says.
    let error = failure(node.cri().pull(&app.image(node)))?;
    let host = node.proxy().address().to_string();
    ensure_says(
        &error,
        &["nothing came", "for 2 s", &app.image(node), &app.top, &host, "reaches the registry"],
    )?;
    node.peel()?.json("stats")?;
    node.cri().pull(&other.image(node))?;
    other.run(node)?;
    hold.release();
    node.cri().pull(&app.image(node))?;
    app.run(node)
}

fn gate(version: Version) -> Result<()> {
    let images: Arc<Images> = Images::start()?;
    let mut node = Node::builder(version).images(&images).start()?;
    others_go_on(&mut node, &images).context("others go on")?;
    clients_leave(&node, &images).context("clients leave")?;
    let app = App::push(&images, "killed")?;
    daemon_dies(&mut node, &app, app.index_reads(), |node| node.peel()?.kill()).context("killed")?;
    let app = App::push(&images, "killed-later")?;
    daemon_dies(&mut node, &app, app.content_reads(), |node| node.peel()?.kill()).context("killed later")?;
    let app = App::push(&images, "stopped")?;
    daemon_dies(&mut node, &app, app.index_reads(), |node| node.peel()?.stop()).context("stopped")?;
    blob_is_missing(&mut node, &images).context("a missing blob")?;
    gc_runs_after_a_failed_pull(&mut node, &images).context("GC after a failed pull")?;
    registry_is_silent(&mut node, &images).context("a silent registry")
}

#[test]
fn debian_12() -> Result<()> {
    gate(Version::Debian12)
}

#[test]
fn trixie() -> Result<()> {
    gate(Version::Trixie)
}

#[test]
fn sid() -> Result<()> {
    gate(Version::Sid)
}
