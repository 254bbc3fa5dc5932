//! A kernel that cannot send requests again: whoever is told to end answers first what it has taken; what is in flight
//! at a kill ends with an error, and nobody hangs.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use peel_integration::{
    node::Images,
    peel::{Launch, Run},
};
use rustix::process::Signal;

use crate::{
    load::{Load, node, read_anew, signal, stats},
    pending::Pending,
};

fn launch() -> Launch {
    let arguments = vec!["--assume-no-resend".to_owned()];
    Launch { run: Run::Supervised, arguments, ..Launch::default() }
}

fn told_to_end(tree: &str) -> Result<()> {
    let mut load = Load::start_with(tree, launch())?;
    load.survives(|node| {
        for round in 0..20_u64 {
            thread::sleep(Duration::from_millis(round * 7919 % 401));
            signal(node, Signal::TERM)?;
        }
        Ok(())
    })?;
    let log = load.node.peel()?.log();
    ensure!(log.contains("cannot send FUSE requests again"), "nothing says what is not covered: {log}");
    let stats = stats(&mut load.node)?;
    ensure!(stats["generation"] == 1 && stats["failed_reads"] == 0, "{stats}");
    Ok(())
}

#[test]
fn told_to_end_under_the_kernels_tree() -> Result<()> {
    told_to_end("erofs")
}

#[test]
fn told_to_end_under_the_fuse_tree() -> Result<()> {
    told_to_end("fuse")
}

fn with_a_hundred_reads(tree: &str) -> Result<()> {
    let images = Images::start()?;
    let mut node = node(&images, tree, launch())?;
    let pending = Pending::start(&images, &node)?;
    signal(&mut node, Signal::TERM)?;
    // The registry answers while the daemon waits for its answers.
    thread::sleep(Duration::from_millis(500));
    pending.finish(&node, false)?;
    let stats = stats(&mut node)?;
    ensure!(stats["generation"] == 1 && stats["failed_reads"] == 0, "{stats}");
    ensure!(!node.peel()?.log().contains("not answered in time"));
    Ok(())
}

#[test]
fn a_hundred_reads_are_answered_under_the_kernels_tree() -> Result<()> {
    with_a_hundred_reads("erofs")
}

#[test]
fn a_hundred_reads_are_answered_under_the_fuse_tree() -> Result<()> {
    with_a_hundred_reads("fuse")
}

fn killed(tree: &str) -> Result<()> {
    let images = Images::start()?;
    let mut node = node(&images, tree, launch())?;
    let pending = Pending::start(&images, &node)?;
    let files = pending.files.clone();
    signal(&mut node, Signal::KILL)?;
    let failed = pending.finish(&node, true)?;
    tell(tree, failed);
    for file in &files {
        read_anew(file)?;
    }
    ensure!(stats(&mut node)?["generation"] == 1);
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a measurement, for who runs the test by hand")]
fn tell(tree: &str, failed: u64) {
    eprintln!("{tree}: {failed} of 100 reads in flight at a kill failed");
}

#[test]
fn killed_under_the_kernels_tree() -> Result<()> {
    killed("erofs")
}

#[test]
fn killed_under_the_fuse_tree() -> Result<()> {
    killed("fuse")
}
