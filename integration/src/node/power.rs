//! The machine crashes, and starts again: for nodes whose Peel has a disk of its own ([`Builder::peel_disk`]).
//!
//! From one moment to the next nothing more reaches the block device: neither dirty pages nor what the filesystem's
//! journal holds in memory. What the device has then is mounted again. That is what a machine would find, but for what
//! ended well after the moment: containerd's root, on this machine's disk, which forgets nothing.
//!
//! [`Builder::peel_disk`]: super::Builder::peel_disk

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Node, disk};
use crate::{peel, wait};

/// Unmounting is done at once; the loop device goes with its last user, who may be a process that is just ending.
const LIMIT: Duration = Duration::from_secs(20);
/// Where a map has the boot that it was made in (docs/cache-on-disk.md).
const BOOT: std::ops::Range<usize> = 64..80;

impl Node {
    /// The machine crashes. Everything that ran on the node is gone afterwards, and everything that was mounted.
    ///
    /// # Errors
    /// When something is left.
    pub fn cut_power(&mut self) -> Result<()> {
        let peel = self.peel.as_mut().context("this node was built without Peel")?;
        disk::shut_down(&peel.root())?;
        peel.kill()?;
        // Whoever waits for an answer cannot be ended.
        self.dir.abort_fuse()?;
        self.dir.end_all()?;
        self.containerd.crash()?;
        let image = disk::image(&self.dir.path().join("peel"));
        wait::until_true("the disk to be let go", LIMIT, || !disk::is_attached(&image))
    }

    /// The machine starts: the disk is mounted as it was left, Peel and containerd are started. Containers are not.
    ///
    /// # Errors
    /// When a part does not come up.
    pub fn power_on(&mut self) -> Result<()> {
        let peel_dir = self.dir.path().join("peel");
        let root = peel::root(&peel_dir);
        disk::mount(&disk::image(&peel_dir), &root)?;
        another_boot(&root.join("cache"))?;
        self.peel()?.start_again()?;
        self.containerd.restart()?;
        self.wait_for_cri()
    }
}

/// The kernel below is still the same, and so is its boot id: it is the live maps that are made to be of another.
fn another_boot(cache: &Path) -> Result<()> {
    for layer in fs::read_dir(cache)? {
        let path = layer?.path().join("map");
        let Ok(map) = File::options().read(true).write(true).open(&path) else { continue };
        let mut boot = [0; BOOT.end - BOOT.start];
        // One whose bytes were lost is of no boot.
        if map.read_exact_at(&mut boot, BOOT.start as u64).is_ok() {
            map.write_all_at(&boot.map(|byte| !byte), BOOT.start as u64)
                .with_context(|| format!("changing {}", path.display()))?;
        }
    }
    Ok(())
}
