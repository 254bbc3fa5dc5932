//! Several containers fill the disk at once.

use std::{thread, time::Duration};

use anyhow::{Result, anyhow, ensure};
use peel_integration::{peel::Run, wait};
use rustix::process::Signal;

use crate::ground::{Ground, SOON, highest_usage, read_all, used_percent, write_foreign};

/// All images are read twice, at the same time, while `upset` happens; every byte is right. Gives the highest usage
/// seen meanwhile.
fn read_together(ground: &mut Ground, upset: impl FnOnce(&mut Ground) -> Result<()>) -> Result<f64> {
    let containers = std::mem::take(&mut ground.containers);
    let most = highest_usage(&ground.root()?, || {
        thread::scope(|scope| {
            let readers: Vec<_> = (0..)
                .zip(&containers)
                .map(|(number, container)| {
                    scope.spawn(move || (0..2).try_for_each(|_| read_all(container, number)))
                })
                .collect();
            let upset = upset(ground);
            let read = readers
                .into_iter()
                .try_for_each(|reader| reader.join().map_err(|_| anyhow!("a reader panicked"))?);
            upset.and(read)
        })
    })?;
    ground.containers = containers;
    Ok(most)
}

#[test]
fn usage_stays_below_the_kubelets_threshold_and_returns() -> Result<()> {
    let mut ground = Ground::start(Run::Alone)?;
    let most = read_together(&mut ground, |_| Ok(()))?;
    // 80 and what is in flight: 4 MiB between two looks at the disk, an index, metadata.
    ensure!((79.0..84.0).contains(&most), "usage was {most} % at most");
    ground.check_stats()?;
    let stats = ground.stats()?;
    ensure!(stats["evicted_chunks"].as_u64() > Some(0), "{stats}");

    // Somebody else takes what is left to the high watermark: eviction goes down to the low one by itself.
    let root = ground.root()?;
    write_foreign(&root, 14 << 20)?;
    wait::until("the low watermark", 2 * SOON, || Ok((used_percent(&root)? <= 75.0).then_some(())))?;
    ensure!(used_percent(&root)? > 70.0, "more than needed was evicted: {}", used_percent(&root)?);

    // By hand, and what a dry run says.
    let before = used_percent(&root)?;
    let peel = ground.node.peel()?;
    let said = peel.command(&["gc", "--to", "60", "--dry-run"])?;
    ensure!(said.contains("would be freed") && said.contains("sha256:"), "{said}");
    ensure!((used_percent(&root)? - before).abs() < 1.0, "a dry run changed something");
    peel.command(&["gc", "--to", "60"])?;
    ensure!(used_percent(&root)? <= 60.5, "{}", used_percent(&root)?);
    let image = ground.images[0].clone();
    let said = ground.node.peel()?.command(&["evict", &image])?;
    ensure!(said.contains("sha256:"), "{said}");
    let unknown = ground.node.peel()?.command(&["evict", "nothing:1"]).unwrap_err();
    ensure!(format!("{unknown:#}").contains("nothing:1"), "{unknown:#}");
    read_all(&ground.containers[0], 0)?;
    ground.check_stats()?;

    ground.node.peel()?.stop()?;
    for command in [&["gc"][..], &["evict", &image]] {
        let error = ground.node.peel()?.command(command).unwrap_err();
        ensure!(format!("{error:#}").contains("no peel daemon answers"), "{error:#}");
    }
    Ok(())
}

#[test]
fn killed_while_it_fills_and_evicts() -> Result<()> {
    let mut ground = Ground::start(Run::Supervised)?;
    read_together(&mut ground, |ground| {
        for round in 0..12_u64 {
            thread::sleep(Duration::from_millis(100 + round * 7919 % 613));
            wait::until("a serving process", SOON, || {
                Ok(ground.node.peel()?.signal_server(Signal::KILL).ok())
            })?;
        }
        Ok(())
    })?;
    wait::until("the daemon to answer", SOON, || Ok(ground.stats().ok()))?;
    ground.check_stats()?;
    read_all(&ground.containers[1], 1)
}

#[test]
fn the_cache_directory_is_deleted_under_running_containers() -> Result<()> {
    let mut ground = Ground::start(Run::Alone)?;
    let cache = ground.root()?.join("cache");
    read_together(&mut ground, |_| {
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(700));
            // A layer's folder may be made at the same moment.
            let _ = std::fs::remove_dir_all(&cache);
        }
        Ok(())
    })?;
    read_all(&ground.containers[0], 0)?;
    ensure!(std::fs::read_dir(&cache)?.count() > 0, "nothing is cached any more");
    ground.check_stats()
}
