//! Layers that the kernel does not mount: shown through FUSE and counted, or refused with the reason.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use toml::Table;

use super::ground::{Ground, answers, layer_mounts, unused_go_at_once};

/// Slots that the test's images may get.
const SLOTS: std::ops::Range<u64> = 1..100;

/// Files where mount points would be.
fn stand_in_the_way(ground: &mut Ground) -> Result<Vec<PathBuf>> {
    let stats = ground.node.peel()?.json("stats")?;
    let layers = ground.node.peel()?.root().join("layers").join(stats["generation"].to_string());
    let free = SLOTS.map(|slot| layers.join(slot.to_string())).filter(|path| !path.exists());
    free.map(|path| fs::write(&path, "").map(|()| path).context("in the way")).collect()
}

fn shown_through_fuse(ground: &mut Ground) -> Result<u64> {
    let stats = ground.node.peel()?.json("stats")?;
    stats["events"]["layers_shown_through_fuse"].as_u64().with_context(|| stats.to_string())
}

pub(crate) fn shown_through_fuse_or_refused(ground: &mut Ground) -> Result<()> {
    let (app, image) = ground.pull("unmountable")?;
    let files = stand_in_the_way(ground)?;
    let (mounts, before) = (layer_mounts(&mut ground.node)?, shown_through_fuse(ground)?);
    app.run(&ground.node)?;
    ensure!(layer_mounts(&mut ground.node)? == mounts, "it was mounted all the same");
    ensure!(shown_through_fuse(ground)? > before, "nobody counts");
    ensure!(ground.node.peel()?.log().contains("layer is shown through FUSE"));

    remove(files)?;
    let mut only = unused_go_at_once();
    only.insert("tree".into(), "erofs".into());
    restart_with(ground, &only)?;
    // The daemon ran alone: this one has a connection of its own, and folders.
    let files = stand_in_the_way(ground)?;
    let refused = ground.node.start_container(&image, &[]).err().context("a layer without a mount")?;
    let text = format!("{refused:#}");
    ensure!(text.contains("the kernel does not mount the tree image"), "{text}");

    remove(files)?;
    app.run(&ground.node)?;
    ensure!(!layer_mounts(&mut ground.node)?.is_empty(), "it is still not mounted");
    Ok(())
}

fn remove(files: Vec<PathBuf>) -> Result<()> {
    files.into_iter().try_for_each(fs::remove_file).context("out of the way")
}

fn restart_with(ground: &mut Ground, settings: &Table) -> Result<()> {
    ground.node.peel()?.restart_with(settings)?;
    answers(&ground.node)
}
