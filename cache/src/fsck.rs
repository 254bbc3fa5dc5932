//! Is what is on the disk what it was? For `peel fsck`, beside a running daemon's readers or alone.
//!
//! ```text
//! index/<name>   chunk table and seek index: their checksums; trees: their sha256
//! cache/<name>   maps and digests: whether they belong to this data file
//!                chunks of the live and of the durable map: their digests, read from the disk, one at a time
//! cache/…        folders that no index has; what is unfinished; what a streaming process left
//! ```
//!
//! A check changes nothing, except that after a reboot the durable map becomes the live one as at any opening.
//! A repair only removes: bad chunks are evicted, so that they are fetched again, a damaged index goes, so that it is
//! resolved again. What is unfinished under a running daemon is somebody's work; only a cache that was opened for the check
//! ([`Cache::open_as_found`]) has leftovers.

mod layer;

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use peel_layer::LayerDigest;

use crate::{
    Cache, CacheError,
    disk::{self, TEMPORARY},
    staging::STREAM,
};

/// What is wrong somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// A file of the index is not what was published; why. The layer has to be resolved again.
    Index(String),
    /// The maps or digests do not belong to the data file; why. No chunk of it can be used.
    Map(String),
    /// So many chunks are not what the index says; the ids of the first.
    Chunks(u64, Vec<u32>),
    /// A cache folder without index.
    Orphan,
    /// A crash left it half done.
    Unfinished,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The layer's directory name; empty where there is none.
    pub name: String,
    /// The layer, where the name says it.
    pub layer: Option<LayerDigest>,
    /// File or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub damage: Damage,
    /// It is not there any more.
    pub repaired: bool,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Layers that were looked at.
    pub layers: u64,
    /// Layers in all.
    pub of_layers: u64,
    /// Chunks that were read.
    pub chunks: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// Who is told, finding by finding, and without one as it goes on. Breaks off when told to.
pub type Tell<'a> = dyn FnMut(Option<Finding>, Checked) -> ControlFlow<()> + 'a;

/// A check under way.
struct Check<'a> {
    repair: bool,
    checked: Checked,
    tell: &'a mut Tell<'a>,
}

impl Check<'_> {
    /// Tells of `damage` at `path`; `repair` removes it.
    fn found(
        &mut self,
        name: &str,
        path: PathBuf,
        damage: Damage,
        repair: impl FnOnce() -> Result<(), CacheError>,
    ) -> ControlFlow<()> {
        let repaired = self.repair
            && repair()
                .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "not repaired"))
                .is_ok();
        let layer = name.split('-').next().and_then(|hex| format!("sha256:{hex}").parse().ok());
        (self.tell)(Some(Finding { name: name.to_owned(), layer, path, damage, repaired }), self.checked)
    }

    fn go_on(&mut self) -> ControlFlow<()> {
        (self.tell)(None, self.checked)
    }
}

impl Cache {
    /// Checks everything; `tell` hears of all that is wrong, and at least every few MiB how far it is. Blocks on the
    /// disk, a chunk at a time. Memory: the maps of one layer.
    ///
    /// # Errors
    /// The directories cannot be read.
    pub fn check<'a>(&self, repair: bool, tell: &'a mut Tell<'a>) -> Result<Checked, CacheError> {
        let mut check = Check { repair, checked: Checked::default(), tell };
        let mut names = self.names();
        // Folders that another hand put there.
        names.extend(disk::dir_names(self.index_dir())?.into_iter().filter(|name| is_finished(name)));
        names.sort_unstable();
        names.dedup();
        check.checked.of_layers = names.len() as u64;
        let mut all = || {
            for name in &names {
                self.check_layer(&mut check, name)?;
                check.checked.layers += 1;
                check.go_on()?;
            }
            self.check_orphans(&mut check)?;
            if self.is_as_found() { self.check_leftovers(&mut check) } else { ControlFlow::Continue(()) }
        };
        // Who asked went away: there is nobody to tell.
        let _ = all();
        if repair && self.is_as_found() {
            self.sync()?;
        }
        Ok(check.checked)
    }

    /// Cache folders that no layer has.
    fn check_orphans(&self, check: &mut Check<'_>) -> ControlFlow<()> {
        // A layer is removed with this lock held, index first.
        let _no_round = self.collector.lock();
        let dirs = disk::dir_names(self.cache_dir()).unwrap_or_default();
        let names = self.names();
        for name in dirs {
            if name == STREAM || !is_finished(&name) || names.binary_search(&name).is_ok() {
                continue;
            }
            let path = self.cache_dir().join(&name);
            check.found(&name, path.clone(), Damage::Orphan, || disk::remove_dir(&path))?;
        }
        ControlFlow::Continue(())
    }

    /// What crashes left half done, in both directories and in those of layers.
    fn check_leftovers(&self, check: &mut Check<'_>) -> ControlFlow<()> {
        for top in [self.index_dir(), self.cache_dir()] {
            let dirs = disk::dir_names(top).unwrap_or_default();
            let inside = dirs.iter().filter(|name| is_finished(name)).map(|name| top.join(name));
            for dir in std::iter::once(top.to_owned()).chain(inside) {
                for path in unfinished(&dir) {
                    check.found("", path.clone(), Damage::Unfinished, || remove(&path))?;
                }
            }
        }
        for staged in self.staged().unwrap_or_default() {
            // The blob is for the next attempt; that writes the data file anew.
            let path = self.cache_dir().join(STREAM).join(staged.layer.hex()).join("data");
            if path.exists() {
                check.found(&staged.layer.hex(), path.clone(), Damage::Unfinished, || remove(&path))?;
            }
        }
        ControlFlow::Continue(())
    }
}

fn is_finished(name: &str) -> bool {
    !name.starts_with(TEMPORARY)
}

fn unfinished(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let temporary = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY));
    temporary.map(|entry| entry.path()).collect()
}

fn remove(path: &Path) -> Result<(), CacheError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(disk::at(path))
}
