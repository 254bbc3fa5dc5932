//! `make demo`: a web application starts from overlayfs and from Peel, and a table says what it took.
//!
//! One image (Debian, Python, numpy, pandas, Flask: over 300 MB unpacked) as eStargz in one registry, two nodes
//! with the same containerd: on one CRI uses overlayfs, on the other Peel. On each the application starts twice:
//! *cold*, nothing of the image is there, and *warm*, a second container while the image is. The page cache is
//! dropped before every start. Everything runs on this machine and is gone afterwards.
#![expect(clippy::print_stdout, reason = "a command for people")]

mod report;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use peel_integration::containerd::Version;
use peel_integration::images::web_app::web_app_image;
use peel_integration::images::{Destination, EStargz, Pushed, push};
use peel_integration::node::{Images, Node, Snapshotter, Start};
use peel_integration::peel;
use peel_integration::proxy::Shape;
use tracing_subscriber::EnvFilter;

use report::Report;

/// Name and tag of the image in the demo's registry.
const REPOSITORY: &str = "demo/web";
const TAG: &str = "estargz";

/// Shows how a container starts before its image has been downloaded.
#[derive(Debug, Parser)]
struct Options {
    /// Where the numbers go.
    #[arg(long, default_value = "target/demo/report.json")]
    report: PathBuf,
    /// Bandwidth of the link to the registry in Mbit/s; this machine's loopback without it.
    #[arg(long)]
    mbit: Option<u64>,
    /// Latency of the link to the registry, per request, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
}

fn main() -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).without_time().init();
    let options = Options::parse();
    ensure!(
        rustix::process::geteuid().is_root(),
        "the demo mounts filesystems and runs containers: run it as root"
    );
    let report = run(&options)?;
    println!("\n{report}");
    let directory = options.report.parent().context("--report must name a file")?;
    fs::create_dir_all(directory)?;
    fs::write(&options.report, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| format!("cannot write {}", options.report.display()))?;
    println!("The numbers are in {}.", options.report.display());
    Ok(())
}

fn run(options: &Options) -> Result<Report> {
    // Before the minutes of preparing, not after.
    let peel = peel::binary()?;
    tracing::info!("with {}", peel.display());
    let images = Images::start()?;
    let pushed = push_image(&images)?;
    let latency = Duration::from_millis(options.latency_ms);
    let shape = match options.mbit {
        Some(megabits) => Shape::link(megabits, latency),
        None => Shape { first_byte: latency, ..Shape::default() },
    };
    println!("Starting it from overlayfs …");
    let (overlayfs, overlayfs_warm) = cold_and_warm(Snapshotter::Overlayfs, &images, shape)?;
    println!("Starting it from Peel …");
    let (peel_cold, peel_warm) = cold_and_warm(Snapshotter::Peel, &images, shape)?;
    Ok(Report { image_bytes: pushed.layer_bytes, overlayfs, overlayfs_warm, peel_cold, peel_warm })
}

/// Makes the image (minutes, but for the first time) and puts it into the registry.
fn push_image(images: &Images) -> Result<Pushed> {
    println!("Preparing the image of the web application …");
    let plain = web_app_image()?;
    // 6 is gzip's own default; the converter's 9 takes a minute more and saves two percent.
    let lazy = EStargz { level: 6, ..EStargz::default() }.convert(&plain)?;
    push(&lazy, &Destination::new(images.address().to_string(), REPOSITORY, TAG))
}

/// Two starts on a fresh node. The node ends before this returns, and nothing of it may remain.
fn cold_and_warm(snapshotter: Snapshotter, images: &Arc<Images>, shape: Shape) -> Result<(Start, Start)> {
    let node =
        Node::builder(Version::Debian12).snapshotter(snapshotter).images(images).shape(shape).start()?;
    let directory = node.dir().path().to_owned();
    let image = node.image(&format!("{REPOSITORY}:{TAG}"));
    let cold = node.pull_and_start(&image).context("the cold start")?;
    tracing::info!("cold: pulled after {:.2} s, ready after {:.2} s", cold.pull_seconds, cold.ready_seconds);
    let warm = node.pull_and_start(&image).context("the warm start")?;
    tracing::info!("warm: pulled after {:.2} s, ready after {:.2} s", warm.pull_seconds, warm.ready_seconds);
    drop(node);
    ensure!(!directory.exists(), "{} could not be removed", directory.display());
    Ok((cold, warm))
}
