//! `make bench`: measures Peel beside overlayfs. See `docs/benchmarking.md`.
#![expect(clippy::print_stdout, reason = "a command for people")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use peel_integration::bench::{Options, Selection, run, work, workload::Workload};
use tracing_subscriber::EnvFilter;

/// Measures what Peel costs beside overlayfs.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Only rows whose names begin with one of these prefixes, separated by commas
    #[arg(long, default_value = "")]
    only: Selection,
    /// Rounds: each measures every workload once cold and twice warm, on every filesystem
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Seconds that a measurement waits for an idle machine before it begins all the same
    #[arg(long, default_value_t = 5)]
    patience: u64,
    /// Where report.json and index.html go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One workload, for the benchmark itself: prints what it cost
    #[command(hide = true)]
    Work {
        workload: Workload,
        /// The tree
        root: PathBuf,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Work { workload, root }) = arguments.command {
        println!("{}", serde_json::to_string(&work::perform(workload, &root)?)?);
        return Ok(());
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).without_time().init();
    ensure!(
        rustix::process::geteuid().is_root(),
        "the benchmark mounts filesystems and runs containers: run it as root"
    );
    let report = run(&Options {
        selection: arguments.only,
        runs: arguments.runs.into(),
        patience: Duration::from_secs(arguments.patience),
    })?;
    println!("\n{report}");
    report.write(&arguments.out)?;
    println!("The numbers are in {0}/report.json, the plots in {0}/index.html.", arguments.out.display());
    Ok(())
}
