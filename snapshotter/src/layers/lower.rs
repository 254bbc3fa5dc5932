//! What is below a directory that a layer implies without naming it.
//!
//! containerd gives such a directory the attributes of the nearest layer below that has something there, symbolic
//! links of that layer followed within its root (`mkparent`; layer-formats.md §A.2). Below may be lazy layers,
//! whose trees are images, and ordinary ones, whose trees are directories on disk.

use std::{os::fd::AsFd as _, path::Path};

use peel_erofs::{Metadata, Timestamp, Xattr};
use peel_layer::implied::{ImpliedError, Lower, lower_directory};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::merged::{Below, Merged};

/// Attributes for the implied directory `path` of a layer on top of `chain`; none if it keeps the stand-ins.
///
/// # Errors
/// A tree image is damaged, or its links are a maze.
pub(super) fn directory_below(
    chain: &Merged,
    path: &[u8],
    lookups: &mut u64,
) -> Result<Option<Metadata>, ImpliedError> {
    for below in &chain.0 {
        let found = match below {
            Below::Tree(image) => lower_directory(image, path, lookups)?,
            Below::Directory(root) => on_disk(root, path),
        };
        match found {
            Lower::Directory(metadata) => return Ok(Some(metadata)),
            Lower::Other => return Ok(None),
            Lower::Missing => {}
        }
    }
    Ok(None)
}

/// What the directory `root` of an ordinary layer has at `path`.
fn on_disk(root: &Path, path: &[u8]) -> Lower {
    let look = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        // Neither a link of the image nor `..` leaves the layer's root.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let directory = rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)?;
        attributes(directory.as_fd())
    };
    match look() {
        Ok(metadata) => Lower::Directory(metadata),
        Err(Errno::NOENT) => Lower::Missing,
        Err(Errno::NOTDIR | Errno::LOOP) => Lower::Other,
        // containerd would fail to unpack. The layer below is not ours to judge: stand-ins do.
        Err(error) => {
            tracing::warn!(root = %root.display(), %error, "attributes of a directory below cannot be read");
            Lower::Other
        }
    }
}

fn attributes(directory: std::os::fd::BorrowedFd<'_>) -> rustix::io::Result<Metadata> {
    let stat = rustix::fs::fstat(directory)?;
    let mut names = vec![0; rustix::fs::flistxattr(directory, &mut [0_u8; 0][..])?];
    let length = rustix::fs::flistxattr(directory, &mut names[..])?;
    let mut xattrs = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; rustix::fs::fgetxattr(directory, name, &mut [0_u8; 0][..])?];
        let length = rustix::fs::fgetxattr(directory, name, &mut value[..])?;
        value.truncate(length);
        xattrs.push(Xattr { name: name.to_vec(), value });
    }
    Ok(Metadata {
        permissions: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        xattrs,
    })
}
