//! A mount that ends with its value, also when a test panics.

use std::{
    error::Error,
    ffi::CString,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use peel_erofs::NodeKind;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::common::{Grown, paths};

pub(crate) struct Mounted {
    /// Where the tree is.
    pub(crate) root: PathBuf,
    _directory: TempDir,
}

impl Mounted {
    /// Mounts `image` with a data device in which every file has the bytes that [`content`] tells.
    pub(crate) fn with_data(image: &[u8], grown: &Grown) -> Result<Self, Box<dyn Error>> {
        let directory = directory()?;
        let data = File::create(directory.path().join("data"))?;
        data.set_len(grown.data_blocks * 4096)?;
        for (_, node) in paths(&grown.tree) {
            if let NodeKind::File { size, start_block } = *grown.tree.kind(node)
                && size > 0
                && size < 1 << 24
            {
                data.write_all_at(&content(size, start_block), u64::from(start_block) * 4096)?;
            }
        }
        Self::mount(directory, image)
    }

    /// Mounts `image` with what `directory` holds as `data`.
    pub(crate) fn mount(directory: TempDir, image: &[u8]) -> Result<Self, Box<dyn Error>> {
        let (source, root) = (directory.path().join("image"), directory.path().join("root"));
        fs::write(&source, image)?;
        fs::create_dir(&root)?;
        let options = format!("device={}", directory.path().join("data").display());
        mount(&source, &root, "erofs", MountFlags::RDONLY, CString::new(options)?.as_c_str()).map_err(
            |error| {
                format!(
                    "cannot mount {} (root, a kernel from 6.12 and an ordinary /var/tmp are needed): {error}",
                    source.display()
                )
            },
        )?;
        Ok(Self { root, _directory: directory })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Detached, so that a descriptor which a failed test left open does not keep it.
        let _ = unmount(&self.root, UnmountFlags::DETACH);
    }
}

/// A directory on a file system from which images can be mounted.
pub(crate) fn directory() -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix("peel-erofs-").tempdir_in("/var/tmp")
}

/// Bytes of a file: different in every block of the device.
pub(crate) fn content(size: u64, start_block: u32) -> Vec<u8> {
    let first = u64::from(start_block) * 4096;
    (first..first + size).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0]).collect()
}
