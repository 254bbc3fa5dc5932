//! Rows of the daemon and its files: `start.ms`, `idle.anon_mib`, `index.bytes_per_file`.

mod first_answer;
mod many;

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use peel_erofs::Image as TreeImage;

use super::{
    Options, image, machine,
    nodes::LAZY,
    report::{Measured, Report},
    samples::Samples,
};
use crate::{
    containerd::Version,
    node::{Images, Node},
};

const START: &str = "start.ms";
const INDEX: &str = "index.bytes_per_file";
const IDLE: &str = "idle.anon_mib";

/// How long a daemon that has just worked is left alone before its memory is read: an allocator gives pages back
/// late, and housekeeping goes round every five seconds.
const REST: Duration = Duration::from_secs(12);

/// Measures the selected rows.
///
/// # Errors
/// When the node does not come up or an image cannot be pulled.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let wants = |name| options.selection.wants(name);
    let add = |report: &mut Report, name: &str, unit, peel: Samples| {
        report.add(Measured { name: name.into(), unit, goal: None, peel, baseline: None });
    };
    if !wants(START) && !wants(INDEX) && !wants(IDLE) {
        return Ok(());
    }
    let images = Images::start()?;
    if wants(START) || wants(INDEX) {
        tracing::info!("preparing the image");
        images.push(&image::images()?.1, LAZY)?;
        let mut node = node(&images)?;
        node.cri().pull(&node.image(LAZY))?;
        if wants(INDEX) {
            let bytes = bytes_per_file(&node.peel()?.root().join("index"))?;
            add(report, INDEX, "B", [bytes].into_iter().collect());
        }
        if wants(START) {
            let times =
                (0..options.runs).map(|_| start_time(&mut node, options, report)).collect::<Result<_>>();
            add(report, START, "ms", times?);
        }
    }
    if wants(IDLE) {
        let mut node = node(&images)?;
        tracing::info!("{} layers with {} files each", many::IMAGES * many::LAYERS, many::FILES);
        for number in 0..many::IMAGES {
            let name = many::push(&images, number)?;
            let image = node.image(&name);
            node.cri().pull(&image)?;
            node.start_container(&image, &["/bin/sleep", "1000000"])?;
        }
        thread::sleep(REST);
        let status = fs::read_to_string(format!("/proc/{}/status", node.peel()?.pid()))?;
        let kib = machine::field(&status, "RssAnon").context("no RssAnon in the daemon's status")?;
        add(report, IDLE, "MiB", [f64::from(u32::try_from(kib)?) / 1024.0].into_iter().collect());
    }
    Ok(())
}

fn node(images: &Arc<Images>) -> Result<Node> {
    Node::builder(Version::Debian12).images(images).start()
}

/// Milliseconds from the start of the process to the first answer of its gRPC socket, with an image there to be
/// found again.
fn start_time(node: &mut Node, options: &Options, report: &mut Report) -> Result<f64> {
    let peel = node.peel()?;
    peel.stop()?;
    let socket = peel.socket();
    ensure!(!socket.exists(), "the daemon left its socket behind");
    report.count_sample(machine::wait_until_idle(options.patience)?);
    let begin = Instant::now();
    let answered = thread::spawn(move || first_answer::wait(&socket));
    peel.start_again()?;
    let answered = answered.join().map_err(|_| anyhow::anyhow!("who waited for the answer panicked"))??;
    Ok(answered.duration_since(begin).as_secs_f64() * 1e3)
}

/// Bytes of all index files, divided by the inodes of all layers.
fn bytes_per_file(index: &Path) -> Result<f64> {
    let (mut bytes, mut inodes) = (0, 0);
    for layer in fs::read_dir(index)? {
        for file in fs::read_dir(layer?.path())? {
            let path = file?.path();
            let mut content = Vec::new();
            File::open(&path)?.read_to_end(&mut content)?;
            bytes += content.len() as u64;
            if path.file_name().is_some_and(|name| name == "tree.erofs") {
                inodes += TreeImage::open(content)?.inodes();
            }
        }
    }
    ensure!(inodes > 0, "no index in {}", index.display());
    Ok(f64::from(u32::try_from(bytes)?) / f64::from(u32::try_from(inodes)?))
}
