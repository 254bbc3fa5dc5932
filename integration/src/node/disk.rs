//! A small filesystem of its own for Peel's root, so that a test can fill it.

use std::{fs::File, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::process::run;

/// Makes an ext4 of `mebibytes` in the file `image` and mounts it at `root`. It goes with the test's folder.
pub(super) fn mount_ext4(image: &Path, root: &Path, mebibytes: u64) -> Result<()> {
    std::fs::create_dir_all(root)?;
    File::create(image)?.set_len(mebibytes << 20).with_context(|| format!("making {}", image.display()))?;
    // A mkfs that is done at once leaves nothing for the kernel to do in the background, which would take space.
    let options = "lazy_itable_init=0,lazy_journal_init=0";
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", options]).arg(image))?;
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(root)).map(drop)
}
