//! With the last image goes everything that the kernel was given of it.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use peel_integration::{node::Node, wait};

use super::ground::{layer_mounts, loop_devices};

/// containerd's garbage collection comes within seconds, Peel's own right after it. The slower the disk, the longer
/// containerd waits between two.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn nothing_is_left(node: &mut Node) -> Result<()> {
    for image in node.cri().images()? {
        if !image.repo_tags.iter().any(|tag| tag.contains("sandbox")) {
            node.cri().remove_image(&image.id)?;
        }
    }
    wait::until("all mounts of layers to go", LIMIT, || Ok(layer_mounts(node)?.is_empty().then_some(())))?;
    wait::until("all loop devices to go", LIMIT, || Ok(loop_devices(node)?.is_empty().then_some(())))?;
    let root = node.peel()?.root();
    let generations = entries(&root.join("layers"))?;
    ensure!(generations.len() <= 1, "folders of old generations: {generations:?}");
    wait::until("the folders of mounts to go", LIMIT, || {
        let mut left = entries(&root.join("idmapped"))?;
        for generation in entries(&root.join("layers"))? {
            left.extend(entries(&generation)?);
        }
        Ok(left.is_empty().then_some(()))
    })
}

fn entries(folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}
