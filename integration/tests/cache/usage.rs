//! What the kubelet sees: the filesystem that the watermarks watch, and what containers wrote themselves.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{peel::Run, wait};

use crate::ground::{Ground, SOON, read_all};

#[test]
fn image_filesystem_and_container_stats() -> Result<()> {
    const WRITTEN: u64 = 3 << 20;
    let mut ground = Ground::start(Run::Alone)?;
    read_all(&ground.containers[0], 0)?;
    let root = ground.root()?;
    let filesystems = ground.node.cri().image_fs_info()?;
    let first = filesystems.first().context("no image filesystem")?;
    let mountpoint = first.fs_id.as_ref().context("no mount point")?.mountpoint.clone();
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev());
    ensure!(device(Path::new(&mountpoint))? == device(&root.join("cache"))?, "{mountpoint}");
    // The kubelet's numbers are statfs of that; so are ours.
    let stats = ground.stats()?;
    let stat = rustix::fs::statvfs(&mountpoint)?;
    ensure!(stats["filesystem"]["capacity_bytes"] == stat.f_blocks * stat.f_frsize, "{stats}");

    let container = &ground.containers[0];
    let write = format!("dd if=/dev/urandom of=/written bs=1M count={} conv=fsync", WRITTEN >> 20);
    let done = ground.node.exec(container, &["sh", "-c", &write])?;
    ensure!(done.exit_code == 0, "{done:?}");
    // containerd asks every ten seconds. What was read (64 MiB) is the cache's, and nobody's writable layer.
    let used = |info: Option<u64>| info.is_some_and(|used| (WRITTEN..WRITTEN + (1 << 20)).contains(&used));
    wait::until("the writable layer to be counted", SOON, || {
        let stats = ground.node.cri().container_stats(&container.id)?;
        let layer = stats.writable_layer.and_then(|layer| layer.used_bytes).map(|used| used.value);
        Ok(used(layer).then_some(()))
    })?;
    wait::until("the image filesystem to be counted", SOON, || {
        let filesystems = ground.node.cri().image_fs_info()?;
        let bytes = filesystems.first().and_then(|first| first.used_bytes).map(|used| used.value);
        Ok(bytes.is_some_and(|bytes| (WRITTEN..WRITTEN + (4 << 20)).contains(&bytes)).then_some(()))
    })
}
