//! Row `gc.mb_s`: how fast eviction gives disk space back.
//!
//! ```text
//! everything read ─▶ synced ─▶ peel gc --to 0: durable maps written, readers waited for, holes punched ─▶ read again …
//! ```
//!
//! The whole cached image goes, in groups of 2 MiB, by the path that the watermarks use. What is divided by the time of the
//! command is the blocks that the daemon counted as freed.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Options, image, machine,
    nodes::{LAZY, perform},
    report::{Measured, Report},
    samples::Samples,
    workload::Workload,
};
use crate::{
    containerd::Version,
    node::{Images, Node},
};

const ROW: &str = "gc.mb_s";

/// A few rounds of housekeeping, which makes durable what was stored.
const REST: Duration = Duration::from_secs(4);
/// The image has 930 MB: with less, something was not cached.
const LEAST: u64 = 800_000_000;

/// Measures the row if it is selected.
///
/// # Errors
/// When the node does not come up, or little is cached or freed.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.selection.wants(ROW) {
        return Ok(());
    }
    let images = Images::start()?;
    images.push(&image::images()?.1, LAZY)?;
    // Watermarks that this machine's disk does not reach by itself, and nothing that stays.
    let settings = "[cache]\nhigh_percent = 100\nlow_percent = 99\nmin_bytes = \"0B\"\ninterval = \"1s\"";
    let mut node = Node::builder(Version::Debian12).peel_config(settings.parse()?).images(&images).start()?;
    let image = node.image(LAZY);
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &["/usr/bin/sleep", "infinity"])?;
    let mut speeds = Samples::default();
    for _ in 0..options.runs {
        perform(Workload::Readall, &container.rootfs).context("filling the cache")?;
        // The kernel keeps what it has read; the next round shall come to the daemon.
        machine::drop_caches()?;
        // Housekeeping has made everything durable, so that the durable maps have to be written again.
        thread::sleep(REST);
        report.count_sample(machine::wait_until_idle(options.patience)?);
        let before = freed_bytes(&mut node)?;
        let begin = Instant::now();
        node.peel()?.command(&["gc", "--to", "0"])?;
        let elapsed = begin.elapsed();
        let freed = freed_bytes(&mut node)? - before;
        ensure!(freed > LEAST, "only {freed} bytes were freed");
        speeds.add(f64::from(u32::try_from(freed)?) / 1e6 / elapsed.as_secs_f64());
    }
    report.add(Measured { name: ROW.into(), unit: "MB/s", goal: None, peel: speeds, baseline: None });
    Ok(())
}

/// Since the daemon's start.
fn freed_bytes(node: &mut Node) -> Result<u64> {
    let stats = node.peel()?.json("stats")?;
    stats["freed_bytes"].as_u64().with_context(|| format!("no freed_bytes in {stats}"))
}
