//! The machine crashes at some moment: what was not durable is not served, and nothing is left half done.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use peel_integration::{node::Container, peel::Run, wait};
use rustix::fs::syncfs;
use serde_json::Value;

use crate::ground::{Ground, SOON, read_all, write_foreign};

const ROUNDS: u64 = 6;
/// Bytes of the disk that are other people's: what is left below the high watermark is less than one image.
const FOREIGN: u64 = 80 << 20;

/// What became of the cache.
struct Crash {
    /// It had evicted since the start before.
    evicted: bool,
    /// Bytes of chunks when the machine crashed.
    before: u64,
    /// Of those, what the next boot finds.
    found: u64,
}

/// Reads an image over and over. When the machine has crashed reads fail; wrong bytes are an error also then.
fn read_until(crashed: &AtomicBool, container: &Container, number: u64) -> Result<()> {
    while !crashed.load(SeqCst) {
        match read_all(container, number) {
            Err(error) if crashed.load(SeqCst) && error.root_cause().is::<io::Error>() => break,
            outcome => outcome?,
        }
    }
    Ok(())
}

/// All images are read at the same time; after `moment`, counted from the first eviction if `evicting`, the machine
/// crashes. It starts again, with new containers.
fn crash(ground: &mut Ground, evicting: bool, moment: Duration) -> Result<Crash> {
    let containers = std::mem::take(&mut ground.containers);
    let crashed = AtomicBool::new(false);
    let stats = thread::scope(|scope| {
        let crashed = &crashed;
        let readers: Vec<_> = (0..)
            .zip(&containers)
            .map(|(number, container)| scope.spawn(move || read_until(crashed, container, number)))
            .collect();
        let stats = stats_after(ground, evicting, moment);
        crashed.store(true, SeqCst);
        let cut = ground.node.cut_power();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().map_err(|_| anyhow!("a reader panicked"))?)
            .and(cut)?;
        stats
    })?;
    ground.node.power_on()?;
    let found = check_disk(ground)?;
    for container in &containers {
        ground.node.remove(container)?;
    }
    for image in ground.images.clone() {
        ground.containers.push(ground.node.start_container(&image, &[])?);
    }
    let before = stats["cache_bytes"].as_u64().context("cache_bytes")?;
    Ok(Crash { evicted: stats["evicted_chunks"].as_u64() > Some(0), before, found })
}

/// What Peel says at that moment.
fn stats_after(ground: &mut Ground, evicting: bool, moment: Duration) -> Result<Value> {
    if evicting {
        wait::until("eviction to begin", SOON, || {
            Ok((ground.stats()?["evicted_chunks"].as_u64() > Some(0)).then_some(()))
        })?;
    }
    thread::sleep(moment);
    ground.check_stats()?;
    ground.stats()
}

/// Every chunk that Peel believes to have is read from the disk and is right; nothing is left of what was under way.
/// Gives the bytes of the chunks.
fn check_disk(ground: &mut Ground) -> Result<u64> {
    let report = ground.node.peel()?.json("fsck").context("it believes what was not durable")?;
    let root = ground.root()?;
    let (indexes, cached) = (names(&root.join("index"))?, names(&root.join("cache"))?);
    for name in &indexes {
        ensure!(!name.starts_with('.'), "half an index is left: {name}");
    }
    for name in cached.iter().filter(|name| *name != "stream") {
        ensure!(indexes.contains(name), "chunks without an index are left: {name}");
    }
    report["bytes"].as_u64().context("bytes")
}

fn names(dir: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    entries.map(|entry| Ok(entry?.file_name().display().to_string())).collect()
}

#[test]
fn the_machine_crashes_while_it_fills_and_evicts() -> Result<()> {
    let mut ground = Ground::start(Run::Alone)?;
    let root = ground.root()?;
    write_foreign(&root, FOREIGN)?;
    // The sandbox's image is not Peel's: containerd unpacked it, and would find it empty, as on overlayfs.
    syncfs(fs::File::open(root)?)?;
    let mut crashes = Vec::new();
    for round in 0..ROUNDS {
        // What is on the disk is made durable every second.
        let moment = Duration::from_millis(200 + round * 1613 % 1500);
        let crash = crash(&mut ground, round % 2 == 1, moment);
        crashes.push(crash.with_context(|| format!("round {round}, after {moment:?}"))?);
    }
    let count = |what: fn(&Crash) -> bool| crashes.iter().filter(|crash| what(crash)).count();
    let kept = count(|crash| crash.found > 0);
    let lost = count(|crash| crash.found < crash.before);
    let evicted = count(|crash| crash.evicted);
    ensure!(
        kept > 0 && lost > 0 && evicted > 0,
        "{kept} left something, {lost} took something, {evicted} evicted"
    );
    for (number, container) in (0..).zip(&ground.containers) {
        read_all(container, number)?;
    }
    ground.check_stats()
}
