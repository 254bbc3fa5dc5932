//! A half-streamed layer goes on where it stopped, whatever became of the pull that began it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use peel_integration::{
    containerd::Version,
    cri::Pull,
    images::{Descriptor, Image, small_app},
    node::{Images, Node},
    proxy::{Fault, Injected, Match, Record, Shape},
    wait,
};

/// Longest wait for something to begin, containerd's GC included.
const SOON: Duration = Duration::from_secs(60);
/// Where the registry breaks off: about a third of the layer.
const STOP: u64 = 4 << 20;
/// Slow enough that a pull is cancelled before the registry breaks off.
const SLOW: Shape = Shape { first_byte: Duration::ZERO, bytes_per_second: Some(1 << 20) };

/// An image with a plain layer that no other image has.
struct Half {
    image: String,
    layer: Descriptor,
    reads: Match,
    /// Where what came of the layer is kept.
    staged: PathBuf,
}

impl Half {
    fn push(node: &mut Node, name: &str, seed: u64) -> Result<Self> {
        let layers = vec![small_app::base_layer()?, small_app::data_layer("data", seed, 12)];
        let layout = Image::new(layers, &small_app::SLEEP).write(&node.images().path().join(name))?;
        let name = format!("{name}:1");
        node.images().push(&layout, &name)?;
        let layer = layout.manifest()?.layers.pop().context("an image without layers")?;
        ensure!(layer.size > 2 * STOP, "the layer has only {} bytes", layer.size);
        let folder = node.peel()?.root().join("cache/stream");
        let staged = folder.join(layer.digest.trim_start_matches("sha256:")).join("blob");
        let reads = Match::blob(&layer.digest).from_agent("peel");
        Ok(Self { image: node.image(&name), layer, reads, staged })
    }

    /// The first request breaks off, and no other is answered.
    fn break_off(&self, node: &Node) -> (Injected, Injected) {
        let cut = node.proxy().inject_times(self.reads.clone(), Fault::CutAfter(STOP), 1);
        (cut, node.proxy().inject(self.reads.clone(), Fault::status(503)))
    }

    /// Bytes that are here. What a request brought is counted whole once the next has been sent.
    fn here(&self) -> Result<u64> {
        Ok(self.staged.metadata().with_context(|| self.staged.display().to_string())?.len())
    }

    /// What was asked of a registry that answers.
    fn answered(&self, node: &Node) -> Vec<Record> {
        node.proxy().requests_of(&self.reads).into_iter().filter(|it| it.status != 503).collect()
    }

    /// The registry, which is well again, is asked for what is missing, once; and the files are right.
    fn goes_on(&self, node: &Node, down: Injected) -> Result<()> {
        let here = self.here()?;
        ensure!((1..=STOP).contains(&here), "{here} bytes are here");
        node.proxy().clear();
        drop(down);
        node.cri().pull(&self.image)?;
        let asked = self.answered(node);
        let ranges: Vec<_> = asked.iter().map(|record| record.request.range.clone()).collect();
        ensure!(ranges == [Some(here..self.layer.size)], "{here} bytes were here, then came {asked:?}");
        self.is_shown(node)
    }

    fn is_shown(&self, node: &Node) -> Result<()> {
        let container = node.start_container(&self.image, &[])?;
        let said = node.exec(&container, &["sh", "-c", "cat /data/* | wc -c"])?;
        ensure!(said.text() == (12 << 20).to_string(), "{said:?}");
        node.remove(&container)
    }
}

/// The pull fails with how much came and why; the next one asks for the rest.
fn after_a_failed_pull(node: &mut Node) -> Result<()> {
    let half = Half::push(node, "failed", 21)?;
    let (cut, down) = half.break_off(node);
    let error = match node.cri().pull(&half.image) {
        Ok(id) => bail!("the pull went well: {id}"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(cut.hits() == 1 && down.hits() > 0, "the registry did not break off: {error}");
    let came = format!("{} of {} bytes came", half.here()?, half.layer.size);
    let host = node.proxy().address().to_string();
    for part in [&half.image, &half.layer.digest, &came, &host] {
        ensure!(error.contains(part.as_str()), "{part:?} is not in: {error}");
    }
    half.goes_on(node, down)
}

/// As above, and the daemon that failed is not the one that goes on.
fn after_a_failed_pull_and_a_restart(node: &mut Node) -> Result<()> {
    let half = Half::push(node, "restarted", 22)?;
    let (_cut, down) = half.break_off(node);
    ensure!(node.cri().pull(&half.image).is_err(), "the pull went well");
    node.peel()?.restart()?;
    node.wait_for_peel()?;
    half.goes_on(node, down)
}

/// Cancels a pull that has got a part, and waits until containerd has forgotten its snapshots.
fn cancel(node: &mut Node, half: &Half) -> Result<()> {
    node.proxy().set_shape(SLOW);
    let pull = node.cri().start_pull(&half.image, Pull::default())?;
    wait::until_true("some bytes", SOON, || node.proxy().bytes_of(&half.reads) > STOP / 4)?;
    ensure!(!pull.is_finished(), "{:?}", pull.wait());
    pull.cancel();
    wait::until("containerd's GC", SOON, || {
        let layers = node.peel()?.json("layers")?.to_string();
        Ok((!layers.contains(&half.layer.digest)).then_some(()))
    })?;
    node.proxy().set_shape(Shape::default());
    Ok(())
}

/// Nobody waits any more when the registry breaks off.
fn after_a_cancelled_pull(node: &mut Node) -> Result<()> {
    let half = Half::push(node, "cancelled", 23)?;
    let (cut, down) = half.break_off(node);
    cancel(node, &half)?;
    wait::until_true("the registry to break off", SOON, || down.hits() > 0)?;
    ensure!(cut.hits() == 1);
    half.goes_on(node, down)
}

/// A download is nobody's in particular: with a registry that is well it goes on, and the next pull joins it.
fn a_cancelled_pull_leaves_its_download_to_the_next(node: &mut Node) -> Result<()> {
    let half = Half::push(node, "left", 24)?;
    cancel(node, &half)?;
    node.cri().pull(&half.image)?;
    let asked = half.answered(node);
    let ranges: Vec<_> = asked.iter().map(|record| record.request.range.clone()).collect();
    ensure!(ranges == [Some(0..half.layer.size)], "{asked:?}");
    half.is_shown(node)
}

fn goes_on(version: Version) -> Result<()> {
    // Patience with a registry that does not answer: the failure is what is waited for here.
    let config = toml::toml! {
        [fetch]
        read_timeout = "3s"
    };
    let mut node = Node::builder(version).images(&Images::start()?).peel_config(config).start()?;
    after_a_failed_pull(&mut node).context("after a failed pull")?;
    after_a_failed_pull_and_a_restart(&mut node).context("after a failed pull and a restart")?;
    after_a_cancelled_pull(&mut node).context("after a cancelled pull")?;
    a_cancelled_pull_leaves_its_download_to_the_next(&mut node).context("its download goes on")
}

#[test]
fn goes_on_where_it_stopped_on_1_6() -> Result<()> {
    goes_on(Version::Debian12)
}

#[test]
fn goes_on_where_it_stopped_on_2() -> Result<()> {
    goes_on(Version::Sid)
}
