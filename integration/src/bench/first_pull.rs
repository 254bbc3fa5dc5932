//! Rows `first_pull.*`: an ordinary gzip image, which no node has, pulled and started; and `stream.rss_mib`.
//!
//! Every measurement has a node of its own with nothing on it, and an empty page cache. The baseline is overlayfs as
//! containerd unpacks it, with `unpigz` or without, whichever is faster in this run.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    Options, machine,
    report::{Measured, Report},
    samples::Samples,
};
use crate::{
    containerd::Version,
    images::services::Service,
    node::{Images, Node, Snapshotter},
    proxy::Shape,
};

const RSS: &str = "stream.rss_mib";
/// More rounds than this do not change the medians, and the large image takes a minute each.
const ROUNDS_MAX: usize = 3;

/// A link, its name in rows, and the highest ratio that is promised there.
const LINKS: [(&str, Shape, f64); 2] = [
    ("loopback", Shape { first_byte: Duration::ZERO, bytes_per_second: None }, 1.0),
    ("1gbit_20ms", Shape::link(1000, Duration::from_millis(20)), 0.6),
];

/// Who pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Puller {
    Overlayfs { pigz: bool },
    Peel,
}

const PULLERS: [Puller; 3] =
    [Puller::Peel, Puller::Overlayfs { pigz: true }, Puller::Overlayfs { pigz: false }];

/// Measures the selected rows.
///
/// # Errors
/// When an image cannot be made, a node does not come up, or the image does not start.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let name = |service: Service, link: &str| format!("first_pull.{service}.{link}");
    let rows: Vec<_> = Service::ALL
        .into_iter()
        .flat_map(|service| LINKS.map(|(link, shape, goal)| (service, link, shape, goal)))
        // The larger ones stream four layers at once.
        .filter(|(service, link, ..)| {
            options.selection.wants(&name(*service, link))
                || (options.selection.wants(RSS) && *service == Service::Middle && *link == "loopback")
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let (images, mut rss) = (Images::start()?, Samples::default());
    for (service, link, shape, goal) in rows {
        tracing::info!("{}", name(service, link));
        images.push(&service.image()?, &reference(service))?;
        let mut samples: [Samples; 3] = Default::default();
        for _ in 0..options.runs.min(ROUNDS_MAX) {
            for (samples, puller) in samples.iter_mut().zip(PULLERS) {
                let mut node = node(&images, puller, shape)?;
                report.count_sample(machine::wait_until_idle(options.patience)?);
                samples.add(node.pull_and_start(&node.image(&reference(service)))?.ready_seconds);
                if puller == Puller::Peel && service != Service::Small {
                    rss.add(peak_mib(&mut node)?);
                }
            }
        }
        let [peel, with_pigz, without] = samples;
        let baseline = if with_pigz.median() < without.median() { with_pigz } else { without };
        let (name, baseline) = (name(service, link), Some(baseline));
        report.add(Measured { name, unit: "s", goal: Some(goal), peel, baseline });
    }
    if !rss.values().is_empty() && options.selection.wants(RSS) {
        report.add(Measured { name: RSS.into(), unit: "MiB", goal: None, peel: rss, baseline: None });
    }
    Ok(())
}

fn reference(service: Service) -> String {
    format!("bench/{service}:1")
}

fn node(images: &Arc<Images>, puller: Puller, shape: Shape) -> Result<Node> {
    let builder = Node::builder(Version::Debian12).images(images).shape(shape);
    match puller {
        Puller::Peel => builder.start(),
        Puller::Overlayfs { pigz } => builder.snapshotter(Snapshotter::Overlayfs).pigz(pigz).start(),
    }
}

/// The most memory that the daemon ever had, mapped files included.
fn peak_mib(node: &mut Node) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", node.peel()?.pid()))?;
    let kib = machine::field(&status, "VmHWM").context("no VmHWM in the daemon's status")?;
    Ok(f64::from(u32::try_from(kib)?) / 1024.0)
}
