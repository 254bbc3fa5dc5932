//! A small filesystem of its own for Peel's root, so that a test can fill it, or take its power away.

mod sys;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

pub(super) use self::sys::shut_down;
use crate::process::run;

/// The file that the filesystem is in, in the folder of a Peel.
pub(super) fn image(peel_dir: &Path) -> PathBuf {
    peel_dir.join("disk.ext4")
}

/// Makes an ext4 of `mebibytes` in the file `image` and mounts it at `root`. It goes with the test's folder.
pub(super) fn make_ext4(image: &Path, root: &Path, mebibytes: u64) -> Result<()> {
    fs::create_dir_all(root)?;
    File::create(image)?.set_len(mebibytes << 20).with_context(|| format!("making {}", image.display()))?;
    // A mkfs that is done at once leaves nothing for the kernel to do in the background, which would take space.
    let options = "lazy_itable_init=0,lazy_journal_init=0";
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", options]).arg(image))?;
    mount(image, root)
}

/// Mounts the filesystem in `image` at `root`. Its loop device goes with the mount.
pub(super) fn mount(image: &Path, root: &Path) -> Result<()> {
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(root)).map(drop)
}

/// Whether a loop device has the file `image`.
pub(super) fn is_attached(image: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    files.into_iter().any(|file| Path::new(file.trim_end()) == image)
}
