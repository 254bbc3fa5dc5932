//! Where generations are mounted.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::Generation;

fn parent(root: &Path) -> PathBuf {
    root.join("fuse")
}

pub(super) fn mount_point(root: &Path, generation: Generation) -> PathBuf {
    parent(root).join(generation.to_string())
}

pub(super) fn make_parent(root: &Path) -> anyhow::Result<()> {
    let parent = parent(root);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&parent)
        .with_context(|| format!("cannot make {}", parent.display()))
}

/// A new mount point.
pub(super) fn make(root: &Path, generation: Generation) -> anyhow::Result<PathBuf> {
    let mount_point = mount_point(root, generation);
    fs::create_dir(&mount_point).with_context(|| format!("cannot make {}", mount_point.display()))?;
    Ok(mount_point)
}

/// Takes the mounts of generations that nobody serves any more out of sight. Overlays that stand on them keep what
/// they have in the page cache; those of a living connection, which ends with its last overlay, keep all.
pub(super) fn retire_all_but(root: &Path, living: &[Generation]) {
    let Ok(entries) = fs::read_dir(parent(root)) else { return };
    for entry in entries.flatten() {
        let generation = entry.file_name().to_str().and_then(|name| name.parse().ok());
        match generation {
            Some(generation) if living.contains(&generation) => {}
            _ => retire_path(&entry.path()),
        }
    }
}

/// As [`retire_all_but`], for one.
pub(super) fn retire(root: &Path, generation: Generation) {
    retire_path(&mount_point(root, generation));
}

fn retire_path(path: &Path) {
    // No stat in between: the root of a dead mount answers with an error, or not at all. More than one mount may be
    // there, when it was mounted again at the moment when somebody else did.
    while peel_fusefs::detach(path).is_ok() {
        tracing::info!(path = %path.display(), "the mount of an earlier generation is taken away");
    }
    if let Err(error) = fs::remove_dir(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "mount point of an earlier generation stays");
    }
}
