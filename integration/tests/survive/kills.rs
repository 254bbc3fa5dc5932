//! `kill -9` and SIGTERM at random moments under load.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use peel_integration::wait;
use rustix::process::Signal;

use crate::load::{LIMIT, Load, read_anew, signal, stats};

#[expect(clippy::print_stderr, reason = "a measurement, for who runs the test by hand")]
fn report(tree: &str, pauses: &[u128]) {
    eprintln!("{tree}: median pause {} ms, worst {:?} ms", pauses[pauses.len() / 2], pauses.last());
}

/// Fifty kills; meanwhile one read waits for the registry.
fn kills(tree: &str) -> Result<()> {
    let mut load = Load::start(tree)?;
    let hold = load.node.proxy().hold(load.held.0.content_reads());
    let unread = load.held.1.clone();
    let waiting = thread::spawn(move || fs::read(unread));
    hold.wait_for(1, LIMIT)?;
    let mut pauses = Vec::new();
    let (file, image) = (load.files[0].clone(), load.image.clone());
    load.survives(|node| {
        for round in 0..50_u64 {
            // Then everybody's reads are cold, and what they wait for is fetched when the daemon dies.
            if round % 3 == 0 {
                wait::until("eviction", LIMIT, || Ok(node.peel()?.command(&["evict", &image]).ok()))?;
            }
            thread::sleep(Duration::from_millis(round * 7919 % 211));
            signal(node, Signal::KILL)?;
            let killed = Instant::now();
            read_anew(&file)?;
            pauses.push(killed.elapsed().as_millis());
        }
        Ok(())
    })?;
    hold.release();
    wait::until_true("what waited for the registry", LIMIT, || waiting.is_finished())?;
    let content = waiting.join().map_err(|_| anyhow!("the reader panicked"))??;
    ensure!(content.len() == 1 << 20, "{} bytes", content.len());
    pauses.sort_unstable();
    report(tree, &pauses);
    let log = load.node.peel()?.log();
    ensure!(
        !log.contains("being executed whenever the daemon died"),
        "the guard took a kill for a crash: {log}"
    );
    let stats = stats(&mut load.node)?;
    ensure!(stats["generation"] == 1 && stats["failed_reads"] == 0, "{stats}");
    Ok(())
}

#[test]
fn killed_with_the_kernels_tree() -> Result<()> {
    kills("erofs")
}

#[test]
fn killed_with_the_fuse_tree() -> Result<()> {
    kills("fuse")
}

fn stops(tree: &str) -> Result<()> {
    let mut load = Load::start(tree)?;
    load.survives(|node| {
        for round in 0..20_u64 {
            thread::sleep(Duration::from_millis(round * 7919 % 401));
            signal(node, Signal::TERM)?;
        }
        Ok(())
    })
}

#[test]
fn stopped_with_the_kernels_tree() -> Result<()> {
    stops("erofs")
}

#[test]
fn stopped_with_the_fuse_tree() -> Result<()> {
    stops("fuse")
}
