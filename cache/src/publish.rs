//! Making an index visible: whole, durable, or not at all.

use std::{
    fs,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

use peel_layer::{IndexFiles, IndexKey, failpoint};
use tempfile::TempDir;

use crate::{
    Cache, CacheError, Layer, PublishError,
    cache::Slot,
    disk,
    layer::{SEEK, TABLE, TREE},
};

impl Cache {
    /// Writes an index: `write` fills its files; what it returns is of no more interest. On success they are on the
    /// disk for good, the seek index only if there is something in it. An index of the same key that is there and
    /// can be read is kept, since it says the same; a damaged one is replaced.
    ///
    /// # Errors
    /// What `write` said, the disk, or [`CacheError::Damaged`] when `write` made something that is no index.
    pub fn publish<T, E>(
        &self,
        key: &IndexKey,
        write: impl FnOnce(&mut IndexFiles<'_>) -> Result<T, E>,
    ) -> Result<Arc<Layer>, PublishError<E>> {
        let name = key.to_string();
        let dir = self.new_index_dir()?;
        write_index(dir.path(), write)?;
        failpoint::reach(|| "publish: written");
        let layer = self.replace_index(&name, dir.path())?;
        failpoint::reach(|| "publish: in its place");
        Ok(layer)
    }

    /// Where an index is written. A reader of it would have to know its random name.
    pub(crate) fn new_index_dir(&self) -> Result<TempDir, CacheError> {
        let parent = self.index_dir();
        tempfile::Builder::new().prefix(disk::TEMPORARY).tempdir_in(parent).map_err(disk::at(parent))
    }

    /// Renames `new` to the index directory `name`, unless a good one is there.
    fn replace_index(&self, name: &str, new: &Path) -> Result<Arc<Layer>, CacheError> {
        let slot = self.slot_or_new(name);
        let mut slot = slot.lock();
        match self.good_index(&mut slot, name)? {
            Some(layer) => Ok(layer),
            None => self.place_index(&mut slot, name, new),
        }
    }

    /// The layer, if its index is there and can be read; a damaged one is removed.
    pub(crate) fn good_index(&self, slot: &mut Slot, name: &str) -> Result<Option<Arc<Layer>>, CacheError> {
        match self.open_in(slot, name) {
            Err(CacheError::Damaged { path, reason }) => {
                tracing::warn!(path = %path.display(), reason, "replacing a damaged index");
                disk::remove_dir(&self.index_dir().join(name)).map(|()| None)
            }
            outcome => outcome,
        }
    }

    /// Renames `new` to the index directory `name`, where nothing is, and opens the layer.
    pub(crate) fn place_index(
        &self,
        slot: &mut Slot,
        name: &str,
        new: &Path,
    ) -> Result<Arc<Layer>, CacheError> {
        let path = self.index_dir().join(name);
        fs::rename(new, &path).map_err(disk::at(&path))?;
        disk::sync_dir(self.index_dir())?;
        self.open_in(slot, name)?
            .ok_or_else(|| CacheError::Damaged { path, reason: "vanished after it was published".to_owned() })
    }
}

/// Fills the files of an index in `dir` and syncs them and their names.
pub(crate) fn write_index<T, E>(
    dir: &Path,
    write: impl FnOnce(&mut IndexFiles<'_>) -> Result<T, E>,
) -> Result<(), PublishError<E>> {
    let create = |name| {
        let path = dir.join(name);
        disk::create_new(&path).map(BufWriter::new).map_err(disk::at(path))
    };
    let (mut tree, mut table, mut seek) = (create(TREE)?, create(TABLE)?, create(SEEK)?);
    let mut files = IndexFiles { tree: &mut tree, table: &mut table, seek: &mut seek };
    write(&mut files).map_err(PublishError::Content)?;
    let mut sync = || -> io::Result<()> {
        for file in [&mut tree, &mut table, &mut seek] {
            file.flush()?;
        }
        if seek.get_ref().metadata()?.len() == 0 {
            fs::remove_file(dir.join(SEEK))?;
        }
        [&tree, &table, &seek].into_iter().try_for_each(|file| file.get_ref().sync_all())
    };
    sync().map_err(disk::at(dir))?;
    Ok(disk::sync_dir(dir)?)
}
