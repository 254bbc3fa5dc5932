//! Pods in user namespaces: idmapped clones of their layers.
//!
//! containerd's own clone of the lowerdirs loses layers that are mounts of their own before 2.3 (contract §3.4),
//! so Peel announces `remap-ids` and hands out layers that are shifted already: each lowerdir of such a container
//! is cloned (`open_tree`), given the pod's mapping (`mount_setattr`), and mounted where only this container looks:
//!
//! ```text
//!  <root>/idmapped/<snapshot>/<n>     n-th lowerdir, nearest first
//! ```
//!
//! A pod has its own range of ids, so the clones are a snapshot's own; the filesystem below, and with it the page
//! cache, is shared. They go with the snapshot. The upper directory belongs to the mapped root.
//!
//! A `VOLUME`'s content is copied by containerd at CreateContainer from what Mounts says, and the copy is mounted as it is:
//! with clones it has the pod's ids, while the overlayfs snapshotter's belongs to nobody (65534:65534), as containerd
//! takes the `uidmap=` options away for that copy alone (seen on 2.1.9). A containerd that gives the copy the pod's ids when
//! it mounts it would shift ours twice. It could be handed the layers unshifted, with those options, only where it can
//! clone them itself: 2.1.9 clones the common directory of all lowerdirs without what is mounted below, and where it
//! mounts read-only, for `/etc/passwd`, the upper directory is one of them. So not even the directories of the one FUSE
//! mount are found there (ENOENT, tried), and nothing of ours can be that common directory's own filesystem.

mod mapping;
mod sys;
mod user_namespace;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use peel_fusefs::mountinfo;

pub use mapping::{IdMapping, MappingError};
pub use user_namespace::child;

use crate::metastore::SnapshotId;

/// The clones of all containers.
#[derive(Debug)]
pub struct IdmappedLayers {
    directory: PathBuf,
    /// Snapshots whose clones this daemon made, and of what; held while some are made.
    made: Mutex<HashMap<SnapshotId, Vec<PathBuf>>>,
}

impl IdmappedLayers {
    /// Below `root`. What an earlier daemon left is taken out of sight: running containers have clones of their own,
    /// and a container that is started again gets new ones.
    ///
    /// # Errors
    /// mountinfo cannot be read, or the directory not be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        let directory = root.join("idmapped");
        fs::create_dir_all(&directory)?;
        for left in fs::read_dir(&directory)? {
            unmake(&left?.path());
        }
        Ok(Self { directory, made: Mutex::default() })
    }

    /// Clones of `lower` in which the ids are `mapping`'s. Blocks for this node only.
    ///
    /// # Errors
    /// The kernel makes no user namespace, or a filesystem below cannot be idmapped.
    pub fn clones(&self, id: SnapshotId, mapping: &IdMapping, lower: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
        let directory = self.directory.join(id.to_string());
        let paths: Vec<PathBuf> = (0..lower.len()).map(|number| directory.join(number.to_string())).collect();
        let mut made = self.made.lock();
        match made.get(&id) {
            Some(of) if of == lower => return Ok(paths),
            // The FUSE connection was replaced, and with it the mounts of the layers: those clones are dead.
            Some(_) => unmake(&directory),
            None => {}
        }
        made.remove(&id);
        let user_namespace = user_namespace::create(mapping)?;
        let make = || -> io::Result<()> {
            for (from, to) in lower.iter().zip(&paths) {
                fs::create_dir_all(to)?;
                sys::idmapped_clone(from, to, &user_namespace).map_err(|error| {
                    io::Error::new(error.kind(), format!("idmapped clone of {}: {error}", from.display()))
                })?;
            }
            Ok(())
        };
        if let Err(error) = make() {
            unmake(&directory);
            return Err(error);
        }
        made.insert(id, lower.to_vec());
        Ok(paths)
    }

    /// The snapshot is gone.
    pub fn release(&self, id: SnapshotId) {
        if self.made.lock().remove(&id).is_some() {
            unmake(&self.directory.join(id.to_string()));
        }
    }
}

/// Takes away the clones of one snapshot, all of them or as many as there are.
fn unmake(directory: &Path) {
    match mountinfo::mounts_below(directory) {
        Ok(mounts) => mounts.iter().for_each(|mount_point| unmount(mount_point)),
        Err(error) => tracing::warn!(%error, "mounts of a removed container cannot be listed"),
    }
    // Only empty directories: whatever is still mounted would be a layer's.
    let mount_points = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in mount_points.chain([directory.to_owned()]) {
        if let Err(error) = fs::remove_dir(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot be removed");
        }
    }
}

fn unmount(mount_point: &Path) {
    if let Err(error) = peel_fusefs::detach(mount_point) {
        tracing::warn!(path = %mount_point.display(), %error, "idmapped layer cannot be unmounted");
    }
}
