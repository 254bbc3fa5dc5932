//! The last scenario: all images go, and with them all that Peel had of their layers.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{node::Node, wait};

use super::ground::Ground;

/// containerd's garbage collection comes within seconds, Peel's own right after it. The slower the disk, the longer
/// containerd waits between two.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn everything_goes(ground: &mut Ground) -> Result<()> {
    let root = ground.node.peel()?.root();
    let names = |folder: &str| -> Result<Vec<String>> {
        let mut names = Vec::new();
        // Generations of the FUSE mount are folders in `fuse`; what they show is one level deeper.
        for entry in fs::read_dir(root.join(folder))? {
            names.push(entry?.file_name().display().to_string());
        }
        Ok(names)
    };
    ensure!(!names("index")?.is_empty() && !names("cache")?.is_empty(), "scenarios left no layers");
    remove_all_images(&ground.node)?;
    let ours = |node: &mut Node| -> Result<usize> {
        let layers = node.peel()?.json("layers")?;
        Ok(layers.as_array().into_iter().flatten().filter(|layer| layer["ours"] == true).count())
    };
    wait::until("all lazy layers to go", LIMIT, || Ok((ours(&mut ground.node)? == 0).then_some(())))?;
    wait::until("the files of layers to go", LIMIT, || {
        Ok((names("index")?.is_empty() && names("cache")?.is_empty()).then_some(()))
    })?;
    let generation = names("fuse")?;
    ensure!(generation.len() == 1, "{generation:?}");
    let mut left = Default::default();
    let gone = wait::until("slots and mounts to go, all but the FUSE mount", LIMIT, || {
        let mounts = ground.node.dir().mounts()?.into_iter().filter(|mount| mount.starts_with(&root));
        left = (names(&format!("fuse/{}", generation[0]))?, mounts.collect::<Vec<_>>());
        Ok((left.0.is_empty() && left.1.len() == 1).then_some(()))
    });
    gone.with_context(|| format!("slots and mounts: {left:?}"))
}

fn remove_all_images(node: &Node) -> Result<()> {
    for namespace in ["other", "evil"] {
        let lines = |text: String| text.lines().skip(1).map(first_word).collect::<Vec<_>>();
        node.ctr_in(namespace, &["snapshots", "--snapshotter", "peel", "rm", "container"])?;
        for image in lines(node.ctr_in(namespace, &["images", "ls"])?) {
            node.ctr_in(namespace, &["images", "rm", &image])?;
        }
        for lease in lines(node.ctr_in(namespace, &["leases", "ls"])?) {
            node.ctr_in(namespace, &["leases", "rm", &lease])?;
        }
    }
    for image in node.cri().images()? {
        if !image.repo_tags.iter().any(|tag| tag.contains("sandbox")) {
            node.cri().remove_image(&image.id)?;
        }
    }
    Ok(())
}

fn first_word(line: &str) -> String {
    line.split_whitespace().next().unwrap_or_default().to_owned()
}
