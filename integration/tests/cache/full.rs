//! Somebody else takes the disk to 100 %.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{peel::Run, wait};
use rustix::process::Signal;

use crate::ground::{Ground, SOON, read_all, write_foreign};

/// Until there is nothing more to take: what eviction gives back is taken too. Bytes that it freed count as available
/// for half a minute each time.
fn fill(ground: &mut Ground, root: &Path) -> Result<()> {
    wait::until("eviction to be stuck", Duration::from_secs(180), || {
        let written = write_foreign(root, u64::MAX)?;
        let stats = ground.stats()?;
        let stuck = stats["gc_state"].as_str().is_some_and(|state| state.contains("other data"));
        Ok((stuck && written == 0).then_some(()))
    })
}

/// A new container is refused with a reason.
fn refuses(ground: &Ground, image: &str) -> Result<()> {
    let refused = ground.node.start_container(image, &[]);
    let refused = format!("{:#}", refused.err().context("a container started on a full disk")?);
    ensure!(refused.contains("is full"), "{refused}");
    Ok(())
}

/// Removes what the image has left on the node, which containerd's GC does.
fn remove_image(ground: &mut Ground, image: &str) -> Result<()> {
    ground.node.cri().remove_image(image)?;
    wait::until("the image's layers to go", SOON, || {
        let layers = ground.node.peel()?.json("layers")?;
        let left = layers
            .as_array()
            .is_some_and(|layers| layers.iter().any(|layer| layer["image"].as_str() == Some(image)));
        Ok((!left).then_some(()))
    })
}

#[test]
fn other_data_fill_the_disk() -> Result<()> {
    let mut ground = Ground::start(Run::Alone)?;
    read_all(&ground.containers[0], 0)?;
    let root = ground.root()?;
    fill(&mut ground, &root)?;
    let stats = ground.stats()?;
    ensure!(stats["filesystem"]["used_percent"].as_u64() >= Some(98), "{stats}");

    // Everything is read, out of memory.
    for number in [0, 1] {
        read_all(&ground.containers[usize::try_from(number)?], number)?;
    }
    ground.check_stats()?;
    let evicted = ground.stats()?["evicted_chunks"].clone();
    thread::sleep(Duration::from_secs(3));
    ensure!(ground.stats()?["evicted_chunks"] == evicted, "it goes on evicting for nothing");

    // A new container is refused with a reason; what is there can be removed.
    write_foreign(&root, u64::MAX)?;
    let image = ground.images[2].clone();
    refuses(&ground, &image)?;
    if let Some(container) = ground.containers.pop() {
        ground.node.remove(&container)?;
    }
    remove_image(&mut ground, &image)?;

    fs::remove_file(root.join("foreign"))?;
    ground.wait_for_state(false)?;
    let container = ground.node.start_container(&ground.images[0], &[])?;
    read_all(&container, 0)?;
    ground.check_stats()
}

/// Directories of snapshots.
fn snapshots(root: &Path) -> Result<usize> {
    Ok(fs::read_dir(root.join("snapshots"))?.count())
}

#[test]
fn killed_and_started_on_a_full_disk() -> Result<()> {
    let mut ground = Ground::start(Run::Supervised)?;
    let root = ground.root()?;
    read_all(&ground.containers[0], 0)?;
    fill(&mut ground, &root)?;
    for round in 0..3 {
        // What the last round gave back.
        write_foreign(&root, u64::MAX)?;
        let before = ground.node.peel()?.server_pid()?;
        ground.node.peel()?.signal_server(if round == 1 { Signal::TERM } else { Signal::KILL })?;
        let restarted = wait::until("the next daemon to answer", SOON, || {
            let peel = ground.node.peel()?;
            Ok(peel.server_pid().ok().filter(|pid| *pid != before && peel.json("stats").is_ok()))
        });
        restarted.with_context(|| {
            ground.node.peel().map(|peel| peel.log_tail(20)).unwrap_or_else(|error| error.to_string())
        })?;
        write_foreign(&root, u64::MAX)?;
        read_all(&ground.containers[0], 0)?;
        let image = ground.images[0].clone();
        ground.node.wait_for_peel()?;
        refuses(&ground, &image)?;
        // Remove and Cleanup: a container's snapshot and, with the last, its image's layers.
        if round < 2
            && let Some(container) = ground.containers.pop()
        {
            let before = snapshots(&root)?;
            ground.node.remove(&container)?;
            wait::until("the container's directory to go", SOON, || {
                Ok((snapshots(&root)? < before).then_some(()))
            })?;
            let image = ground.images[2 - round].clone();
            remove_image(&mut ground, &image)?;
        }
    }
    ensure!(ground.stats()?["generation"] == 1, "{}", ground.stats()?);
    ground.check_stats()?;

    fs::remove_file(root.join("foreign"))?;
    ground.wait_for_state(false)?;
    let container = ground.node.start_container(&ground.images[0], &[])?;
    read_all(&container, 0)?;
    ground.check_stats()
}
