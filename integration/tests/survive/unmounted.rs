//! Somebody unmounts what is Peel's.

use anyhow::{Result, ensure};
use peel_integration::wait;
use rustix::mount::{UnmountFlags, unmount};

use crate::load::{LIMIT, Load, stats};

fn unmounted_by_hand(tree: &str) -> Result<()> {
    let mut load = Load::start(tree)?;
    load.survives(|node| {
        let mount = node.peel()?.root().join("fuse/1");
        unmount(&mount, UnmountFlags::DETACH)?;
        wait::until_true("the mount to come back", LIMIT, || {
            node.dir().mounts().is_ok_and(|mounts| mounts.contains(&mount))
        })
    })?;
    // Mounts of layers are made again when the next container needs them.
    let layers = load.node.peel()?.root().join("layers/1");
    for mount in load.node.dir().mounts()?.iter().filter(|mount| mount.starts_with(&layers)) {
        unmount(mount, UnmountFlags::DETACH)?;
    }
    load.held.0.run(&load.node)?;
    let stats = stats(&mut load.node)?;
    ensure!(stats["generation"] == 1 && stats["lost_connections"] == 0, "{stats}");
    Ok(())
}

#[test]
fn with_the_kernels_tree() -> Result<()> {
    unmounted_by_hand("erofs")
}

#[test]
fn with_the_fuse_tree() -> Result<()> {
    unmounted_by_hand("fuse")
}
