//! The folder of one test and everything that may hang off it.
//!
//! A test leaves nothing behind, also when it fails, and also when its process was killed: daemons, shims,
//! containers' processes, FUSE connections, mounts and cgroups are all found by the name of the test's folder
//! (or of its cgroup, which has the same name), so no list has to be kept. A folder whose owner died is cleaned by
//! the next test that starts: the owner holds a lock on a file in it.
//!
//! Order matters. Processes end first, so that nobody mounts anew. Then FUSE connections are aborted: a request
//! that no daemon answers would keep unmount, and whoever waits for it, for ever. Then mounts go, deepest first.

mod cgroups;
mod mounts;
mod processes;
mod shims;
#[cfg(test)]
mod tests;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use rustix::fs::statfs;

/// Short, because a unix socket's path has at most 107 bytes.
const PREFIX: &str = "peel-it-";
const LOCK: &str = "owner.lock";

/// `f_type` of overlayfs and tmpfs (include/uapi/linux/magic.h).
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A test's folder; dropping it ends, unmounts and deletes everything below it.
#[derive(Debug)]
pub struct TestDir {
    path: PathBuf,
    _owner: File,
}

impl TestDir {
    /// A new folder below `$PEEL_TEST_DIR`, else `/var/tmp`.
    ///
    /// # Errors
    /// When that is not on a filesystem that can hold overlayfs' upper directories.
    pub fn new() -> Result<Self> {
        let parent = env::var_os("PEEL_TEST_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
        let kind = statfs(&parent).with_context(|| format!("statfs {parent:?}"))?.f_type;
        if [OVERLAYFS_MAGIC, TMPFS_MAGIC].contains(&kind) {
            bail!("{parent:?} is on overlayfs or tmpfs; set PEEL_TEST_DIR to a folder on ext4");
        }
        sweep(&parent);
        // It gets its name once it is locked: between the two, another test would take it for an abandoned one.
        let made = tempfile::Builder::new().prefix(&format!(".{PREFIX}")).tempdir_in(&parent)?;
        let owner = File::create(made.path().join(LOCK))?;
        owner.try_lock().with_context(|| format!("locking {made:?}"))?;
        let name = made.path().file_name().context("a folder without a name")?.display().to_string();
        let path = parent.join(name.trim_start_matches('.'));
        fs::rename(made.keep(), &path).with_context(|| format!("naming {path:?}"))?;
        Ok(Self { path, _owner: owner })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new folder `name` in it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("creating {path:?}"))?;
        Ok(path)
    }

    /// The cgroup of this test's pods: `/` and the folder's name, in every hierarchy.
    #[must_use]
    pub fn cgroup(&self) -> String {
        cgroup_of(&self.path)
    }

    /// Ends every process of the test and unmounts everything below the folder; its files stay.
    ///
    /// # Errors
    /// When something is still there.
    pub fn end_all(&self) -> Result<()> {
        processes::end_all_of(&self.path, &self.cgroup())?;
        shims::remove_sockets(&self.path)?;
        mounts::unmount_below(&self.path)
    }

    /// Ends the FUSE connections below the folder: what waits for an answer gets an error. To be done before a
    /// process that may wait for one is ended: until then it cannot be killed.
    ///
    /// # Errors
    /// When the control filesystem cannot be mounted.
    pub fn abort_fuse(&self) -> Result<()> {
        mounts::abort_fuse_below(&self.path)
    }

    /// Requests over the FUSE connections below the folder that nobody has answered.
    ///
    /// # Errors
    /// When the control filesystem cannot be mounted.
    pub fn fuse_waiting(&self) -> Result<u64> {
        mounts::fuse_waiting_below(&self.path)
    }

    /// Mounts below the folder now: what a test looks at to show that something was unmounted.
    ///
    /// # Errors
    /// When the mount table cannot be read.
    pub fn mounts(&self) -> Result<Vec<PathBuf>> {
        Ok(mounts::below(&self.path)?.into_iter().map(|mount| mount.mount_point).collect())
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        clean(&self.path);
    }
}

fn cgroup_of(dir: &Path) -> String {
    format!("/{}", dir.file_name().unwrap_or_default().display())
}

/// Best effort in every step: one that fails must not keep the others from being done.
fn clean(dir: &Path) {
    let cgroup = cgroup_of(dir);
    let steps = [
        ("ending processes", processes::end_all_of(dir, &cgroup)),
        ("removing the sockets of shims", shims::remove_sockets(dir)),
        ("unmounting", mounts::unmount_below(dir)),
        ("removing cgroups", cgroups::remove(&cgroup)),
        ("deleting", fs::remove_dir_all(dir).map_err(Into::into)),
    ];
    for (step, result) in steps {
        if let Err(error) = result {
            tracing::warn!("{step} of {dir:?}: {error:#}");
        }
    }
}

/// Cleans the folders of tests that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // No lock file: somebody is just deleting it.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            clean(&entry.path());
        }
    }
}
