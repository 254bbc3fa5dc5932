//! One EROFS mount, made and unmade.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::mount::MountFlags;

use super::{Backing, loop_device::LoopDevice, sys::Reads};

/// Why a layer is not mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The mount point cannot be made.
    #[error("cannot make the mount point {path}: {source}")]
    MountPoint {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No loop device for one of the files.
    #[error("no loop device for {path}: {source}")]
    Loop {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// mount(2) failed.
    #[error("the kernel does not mount the tree image {tree}: {source}{}", hint(.source))]
    Mount {
        /// The image.
        tree: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NODEV) => " (no EROFS: is the module erofs loaded?)",
        Some(rustix::io::Errno::NOTBLK) => {
            " (Peel's root is on a filesystem that EROFS cannot stand on, or the kernel is older than 6.12)"
        }
        _ => "",
    }
}

/// Mounts the image `tree` with the data device `data` on the new directory `mount_point`.
///
/// mount(2) itself, since mount(8) takes loop devices unasked. Neither `nosuid` nor `nodev`: overlayfs honours
/// set-user-id bits, file capabilities and device nodes of a lowerdir only if its mount does.
pub(super) fn mount(
    backing: Backing,
    tree: &Path,
    data: &Path,
    mount_point: &Path,
) -> Result<(), MountError> {
    let made = match fs::create_dir(mount_point) {
        // Left behind by a crash between mkdir and mount.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    made.map_err(|source| MountError::MountPoint { path: mount_point.to_owned(), source })?;
    let outcome = match backing {
        Backing::File => mount_on(tree, tree, data, mount_point),
        Backing::Loop => {
            let attach = |path: &Path, reads| {
                LoopDevice::attach(path, reads)
                    .map_err(|source| MountError::Loop { path: path.to_owned(), source })
            };
            // Freed by the kernel with the mount, or at once if there is none (autoclear). Data is read directly:
            // a buffered read that waits for the registry holds up all others of its device.
            attach(data, Reads::Direct)
                .and_then(|data| Ok((attach(tree, Reads::Buffered)?, data)))
                .and_then(|(image, data)| mount_on(tree, image.path(), data.path(), mount_point))
        }
    };
    outcome.inspect_err(|_| {
        // Nothing is mounted: nothing may look like an empty layer.
        if let Err(error) = fs::remove_dir(mount_point) {
            tracing::warn!(path = %mount_point.display(), %error, "mount point cannot be removed");
        }
    })
}

fn mount_on(tree: &Path, source: &Path, data: &Path, mount_point: &Path) -> Result<(), MountError> {
    let failed = |source: io::Error| MountError::Mount { tree: tree.to_owned(), source };
    let options = CString::new([b"device=", data.as_os_str().as_bytes()].concat())
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    // The kernel's own read-ahead of 128 KiB stays: see docs/kernel-tree.md.
    rustix::mount::mount(source, mount_point, "erofs", MountFlags::RDONLY, options.as_c_str())
        .map_err(|error| failed(error.into()))
}

/// Takes a mount away. Overlays on it have their own clone and go on; whoever has a file of it open, too.
pub(super) fn unmount(mount_point: &Path) {
    if let Err(error) = peel_fusefs::detach(mount_point) {
        tracing::warn!(path = %mount_point.display(), %error, "layer cannot be unmounted");
        return;
    }
    if let Err(error) = fs::remove_dir(mount_point) {
        tracing::warn!(path = %mount_point.display(), %error, "mount point cannot be removed");
    }
}
