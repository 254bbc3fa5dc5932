//! Making, finding and giving up a snapshot's directories.
//!
//! A directory exists before its snapshot is stored and goes after it was deleted, so a crash leaves at most a
//! directory that nobody refers to; [`Directories::sweep`] finds those at start. That a stored snapshot has its
//! directory after a power cut needs no fsync of its own: the metastore's fsync, which comes later, writes the
//! file system's journal (ext4, XFS) with the mkdir in it.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::trash;
use crate::metastore::{Kind, SnapshotId};

/// Whose a new tree's root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// root.
    Root,
    /// The owner of this directory: the root of the nearest ordinary tree below.
    Like(PathBuf),
    /// This user and group: root of a user namespace.
    Ids(u32, u32),
}

/// Directories of all ordinary snapshots under one root. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Directories {
    root: PathBuf,
    snapshots: PathBuf,
    trash: PathBuf,
    /// One at a time empties the trash.
    reaping: Arc<Mutex<()>>,
}

impl Directories {
    /// Directories below `root`, which must exist.
    ///
    /// # Errors
    /// They cannot be made; or `root` has a character that mount options cannot carry.
    pub fn open(root: &Path) -> io::Result<Self> {
        let text = root.to_str().filter(|text| root.is_absolute() && !text.contains([':', ',', '\\']));
        if text.is_none() {
            let cause = "the root must be an absolute UTF-8 path without ':', ',' and '\\': overlayfs' mount options \
                         cannot carry others";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
        }
        let (snapshots, trash) = (root.join("snapshots"), root.join("trash"));
        for directory in [&snapshots, &trash] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Ok(Self { root: root.to_owned(), snapshots, trash, reaping: Arc::default() })
    }

    /// What they are below.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A snapshot's own tree.
    #[must_use]
    pub fn fs(&self, id: SnapshotId) -> PathBuf {
        self.snapshots.join(format!("{id}/fs"))
    }

    /// Where overlayfs prepares its changes of [`Directories::fs`].
    #[must_use]
    pub fn work(&self, id: SnapshotId) -> PathBuf {
        self.snapshots.join(format!("{id}/work"))
    }

    /// Makes the directories of a new snapshot. The tree's root is 0755, as containerd's own overlayfs has it, and
    /// belongs to `owner`.
    ///
    /// # Errors
    /// Nothing is left then.
    pub fn create(&self, id: SnapshotId, kind: Kind, owner: &Owner) -> io::Result<()> {
        let create = || {
            fs::DirBuilder::new().mode(0o700).create(self.snapshots.join(id.to_string()))?;
            let tree = self.fs(id);
            fs::DirBuilder::new().mode(0o755).create(&tree)?;
            // The umask has no say.
            fs::set_permissions(&tree, fs::Permissions::from_mode(0o755))?;
            if kind == Kind::Active {
                fs::DirBuilder::new().mode(0o711).create(self.work(id))?;
            }
            let owner = match owner {
                Owner::Root => None,
                Owner::Like(path) => {
                    Some(fs::symlink_metadata(path)?).map(|owner| (owner.uid(), owner.gid()))
                }
                Owner::Ids(uid, gid) => Some((*uid, *gid)),
            };
            if let Some((uid, gid)) = owner {
                std::os::unix::fs::lchown(&tree, Some(uid), Some(gid))?;
            }
            Ok(())
        };
        create().inspect_err(|_| self.withdraw(id))
    }

    /// Takes back [`Directories::create`]: nothing was written into them yet.
    pub fn withdraw(&self, id: SnapshotId) {
        let directory = self.snapshots.join(id.to_string());
        for empty in [self.work(id), self.fs(id), directory] {
            if let Err(error) = fs::remove_dir(&empty)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %empty.display(), %error, "cannot take back a new directory");
            }
        }
    }

    /// Puts a removed snapshot's directories into the trash: one rename, whatever is in them.
    pub fn discard(&self, id: SnapshotId) {
        let from = self.snapshots.join(id.to_string());
        if let Err(error) = fs::rename(&from, self.trash.join(format!("s{id}"))) {
            tracing::warn!(path = %from.display(), %error, "cannot put a removed snapshot into the trash");
        }
    }

    /// Puts everything into the trash that is not the directory of one of `known`. For the start, before anything
    /// new is made.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn sweep(&self, known: &HashSet<SnapshotId>) -> io::Result<()> {
        for entry in fs::read_dir(&self.snapshots)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.parse().ok()).map(SnapshotId);
            if id.is_some_and(|id| known.contains(&id)) {
                continue;
            }
            let from = self.snapshots.join(&name);
            tracing::info!(path = %from.display(), "no snapshot has this directory: removed");
            let mut to = std::ffi::OsString::from("s");
            to.push(&name);
            fs::rename(&from, self.trash.join(to))?;
        }
        Ok(())
    }

    /// Empties the trash. May take as long as deleting millions of files takes.
    ///
    /// # Errors
    /// Something cannot be deleted; the rest is.
    pub fn reap(&self) -> io::Result<()> {
        let _one = self.reaping.lock();
        trash::empty(&self.trash)
    }
}
