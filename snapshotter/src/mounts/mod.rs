//! Layers as the kernel mounts them: EROFS over two files, the tree image on disk and the data file under FUSE.
//!
//! ```text
//!  lowerdir: <root>/layers/<generation>/<slot>        one mount a slot, made when a container first needs it
//!     tree:  <root>/index/<layer>/tree.erofs          read by the kernel alone: lookups, stat, readdir, xattrs
//!     bytes: <root>/fuse/<generation>/<slot>.data     READs, the only requests that come to us
//! ```
//!
//! How the kernel is given the two files ([`Backing`]) is found out at start by trying ([`probe`]), not from its
//! version: directly where it can (6.12), through read-only loop devices where it cannot, not at all where there is
//! no EROFS or where a short read of the data file would be filled with zeros. Then, and where one mount fails, the
//! FUSE tree is the lowerdir.
//!
//! The directory of a mount exists only while something is mounted on it: an overlay of a layer that is not mounted
//! fails, it never shows an empty layer. A mount goes with its slot, when no snapshot shows it any more; overlays
//! have a private clone of it, so none ever stands on a vanished layer.

pub mod check;
mod erofs;
mod loop_device;
pub(crate) mod overlay;
pub mod probe;
mod sys;

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use peel_fusefs::mountinfo;
use peel_layer::serve::Slot;

pub use erofs::MountError;

/// How the kernel gets tree image and data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backing {
    /// As files (kernel 6.12 and later).
    File,
    /// As read-only loop devices over the files (5.16 and later).
    Loop,
}

/// How layers become lowerdirs on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Front {
    /// The kernel's EROFS.
    Erofs {
        /// Over what.
        backing: Backing,
        /// A layer whose mount fails is shown through FUSE instead of failing.
        or_fuse: bool,
    },
    /// The FUSE tree.
    Fuse,
}

/// The lowerdirs of all slots.
#[derive(Debug)]
pub struct LayerMounts {
    front: Front,
    root: PathBuf,
    generation: Mutex<Generation>,
    /// Layers shown through FUSE because their mount failed.
    fell_back: AtomicU64,
}

/// The mounts over one FUSE connection.
#[derive(Debug)]
struct Generation {
    /// The FUSE mount.
    fuse: PathBuf,
    /// Where EROFS mounts are.
    layers: PathBuf,
    /// Slots that are mounted, each locked while its mount is made or taken down.
    mounted: HashMap<Slot, Arc<Mutex<bool>>>,
}

impl Generation {
    /// See [`LayerMounts::open`].
    fn find(root: &Path, fuse: PathBuf, front: &Front) -> io::Result<Self> {
        let generation = fuse.file_name().unwrap_or_default().to_owned();
        let all = root.join("layers");
        let layers = all.join(&generation);
        let mut mounted = HashMap::new();
        for mount_point in mountinfo::mounts_below(&all)? {
            let slot = mount_point.strip_prefix(&layers).ok().and_then(|name| name.to_str()?.parse().ok());
            if let Some(slot) = slot {
                mounted.insert(Slot(slot), Arc::new(Mutex::new(true)));
            } else {
                erofs::unmount(&mount_point);
            }
        }
        if *front != Front::Fuse {
            fs::create_dir_all(&layers)?;
        }
        for other in fs::read_dir(&all).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if other == layers {
                continue;
            }
            // What the machine's last run had mounted left its mount points. One that has a mount still is busy.
            for mount_point in fs::read_dir(&other).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(mount_point.path());
            }
            if let Err(error) = fs::remove_dir(&other) {
                tracing::warn!(path = %other.display(), %error, "folder of an old generation stays");
            }
        }
        Ok(Self { fuse, layers, mounted })
    }
}

/// Whether somebody took the mount away under us. Asks the kernel alone: EROFS has its root in memory.
fn was_unmounted(mount_point: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).map(|found| found.dev()).ok();
    mount_point.parent().is_some_and(|parent| device(parent) == device(mount_point))
}

impl LayerMounts {
    /// For the FUSE mount at `<root>/fuse/<generation>`. EROFS mounts that an earlier daemon made on the same
    /// generation are taken over; those of other generations are taken out of sight.
    ///
    /// # Errors
    /// The directory cannot be made, or mountinfo not be read.
    pub fn open(root: &Path, fuse: PathBuf, front: Front) -> io::Result<Self> {
        let generation = Mutex::new(Generation::find(root, fuse, &front)?);
        Ok(Self { front, root: root.to_owned(), generation, fell_back: AtomicU64::new(0) })
    }

    /// From now on mounts are made over the FUSE mount at `fuse`: the connection before it is dead.
    ///
    /// # Errors
    /// As for [`Self::open`]; all stays as it was.
    pub fn move_to(&self, fuse: &Path) -> io::Result<()> {
        let mut generation = self.generation.lock();
        *generation = Generation::find(&self.root, fuse.to_owned(), &self.front)?;
        Ok(())
    }

    /// How layers become lowerdirs.
    #[must_use]
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Layers shown through FUSE because their mount failed.
    #[must_use]
    pub fn fell_back(&self) -> u64 {
        self.fell_back.load(Ordering::Relaxed)
    }

    /// Where nothing is, for a snapshot that has no slot yet: a mount of it fails.
    #[must_use]
    pub fn nowhere(&self, name: &str) -> PathBuf {
        self.generation.lock().fuse.join(name)
    }

    /// The lowerdir of `slot`, whose tree image is at `tree`, mounted if need be. Blocks for this node only.
    ///
    /// # Errors
    /// [`MountError`], where the FUSE tree is not to stand in.
    pub fn lowerdir(&self, slot: Slot, tree: &Path) -> Result<PathBuf, MountError> {
        let mut generation = self.generation.lock();
        let (fuse, layers) = (generation.fuse.clone(), generation.layers.clone());
        let Front::Erofs { backing, or_fuse } = self.front else { return Ok(fuse.join(slot.to_string())) };
        let mount_point = layers.join(slot.to_string());
        let state = Arc::clone(generation.mounted.entry(slot).or_default());
        drop(generation);
        let mut is_mounted = state.lock();
        if *is_mounted && !was_unmounted(&mount_point) {
            return Ok(mount_point);
        }
        let data = fuse.join(format!("{slot}.data"));
        match erofs::mount(backing, tree, &data, &mount_point) {
            Ok(()) => {
                *is_mounted = true;
                Ok(mount_point)
            }
            Err(error) if or_fuse => {
                self.fell_back.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%slot, %error, "layer is shown through FUSE");
                Ok(fuse.join(slot.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes down the mount of `slot`, if there is one: no snapshot shows it any more.
    pub fn release(&self, slot: Slot) {
        let mut generation = self.generation.lock();
        let mount_point = generation.layers.join(slot.to_string());
        let Some(state) = generation.mounted.remove(&slot) else { return };
        drop(generation);
        if std::mem::take(&mut *state.lock()) {
            erofs::unmount(&mount_point);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_of_the_last_boot_go() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let all = ["layers/1/5", "layers/1/6", "layers/2", "layers/3/8"];
        all.iter().for_each(|name| fs::create_dir_all(path(name)).unwrap());
        fs::write(path("layers/3/8/file"), "of somebody").unwrap();
        let front = Front::Erofs { backing: Backing::File, or_fuse: false };
        let mounts = LayerMounts::open(root.path(), path("fuse/4"), front).unwrap();
        let left = all.map(|name| path(name).exists());
        assert_eq!(left, [false, false, false, true]);
        assert!(!path("layers/1").exists() && path("layers/4").exists());
        mounts.move_to(&path("fuse/7")).unwrap();
        assert!(!path("layers/4").exists() && path("layers/7").exists());
    }
}
