//! A streamed layer becomes visible: index, and a cache file with every chunk in it, at once.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

use peel_layer::{IndexFiles, IndexKey, LayerIndex, failpoint, proof::LayerProof};

use crate::{
    Cache, CacheError, Layer, PublishError, Staged,
    cache::Slot,
    disk,
    layer::TABLE,
    map::{AtomicBits, Identity, LiveMap},
    publish::write_index,
};

impl Cache {
    /// Publishes a layer whose data file is complete in `staged`. `write` fills the files of its index, as for
    /// [`Cache::publish`]; `proof` says that blob and content are the image's.
    ///
    /// Afterwards the layer is there with every chunk, and the staging folder is gone. A crash on the way leaves no
    /// index, and a cache directory that the next start removes. Nothing is synced but the index: after a machine
    /// crash before the next [`Cache::sync`] the chunks are missing like any that were not synced.
    ///
    /// # Errors
    /// What `write` said, the disk, or [`CacheError::Damaged`] when the index is not one of this key.
    pub fn publish_staged<T, E>(
        &self,
        key: &IndexKey,
        staged: Staged,
        proof: &LayerProof,
        write: impl FnOnce(&mut IndexFiles<'_>) -> Result<T, E>,
    ) -> Result<Arc<Layer>, PublishError<E>> {
        let dir = self.new_index_dir()?;
        write_index(dir.path(), write)?;
        failpoint::reach(|| "publish streamed: written");
        let table = dir.path().join(TABLE);
        let damaged = |reason: String| CacheError::Damaged { path: table.clone(), reason };
        let index = disk::map(&table)?.ok_or_else(|| damaged("missing".to_owned()))?;
        let index = LayerIndex::parse(index).map_err(|error| damaged(error.to_string()))?;
        if index.key() != *key || proof.identity().layer != key.layer || staged.layer() != key.layer {
            return Err(damaged(format!("it is the table of {}", index.key())).into());
        }
        let name = key.to_string();
        let layer = self.adopt(&name, dir.path(), &index, &staged)?;
        failpoint::reach(|| "publish streamed: in its place");
        if let Err(error) = staged.discard() {
            tracing::warn!(layer = %key.layer, %error, "what was streamed is left behind");
        }
        Ok(layer)
    }

    fn adopt<B: AsRef<[u8]>>(
        &self,
        name: &str,
        new_index: &Path,
        index: &LayerIndex<B>,
        staged: &Staged,
    ) -> Result<Arc<Layer>, CacheError> {
        let slot = self.slot_or_new(name);
        let mut slot = slot.lock();
        if let Some(layer) = self.good_index(&mut slot, name)? {
            return Ok(layer);
        }
        // Whoever still holds a damaged layer reads on; its store must not make files where ours are now.
        if let Some(store) = slot.store.upgrade() {
            store.mark_removed();
        }
        *slot = Slot::default();
        let cache_dir = self.cache_dir().join(name);
        disk::remove_dir(&cache_dir)?;
        let ready = tempfile::Builder::new()
            .prefix(disk::TEMPORARY)
            .tempdir_in(self.cache_dir())
            .map_err(disk::at(&cache_dir))?;
        self.fill(ready.path(), index, staged)?;
        failpoint::reach(|| "publish streamed: data moved");
        fs::rename(ready.path(), &cache_dir).map_err(disk::at(&cache_dir))?;
        failpoint::reach(|| "publish streamed: cached without an index");
        self.place_index(&mut slot, name, new_index)
    }

    /// The data file, at its full length, and a live map that has every chunk.
    fn fill<B: AsRef<[u8]>>(
        &self,
        dir: &Path,
        index: &LayerIndex<B>,
        staged: &Staged,
    ) -> Result<(), CacheError> {
        let data = dir.join("data");
        fs::rename(staged.data_path(), &data).map_err(disk::at(staged.data_path()))?;
        let file = fs::File::options().write(true).open(&data).map_err(disk::at(&data))?;
        file.set_len(index.data_size().0).map_err(disk::at(&data))?;
        let identity = Identity {
            chunks: index.chunk_count(),
            data_size: index.data_size().0,
            inode: file.metadata().map_err(disk::at(&data))?.ino(),
            tree: index.tree_digest(),
        };
        let path = dir.join("map");
        LiveMap::create_with(&path, &identity, self.boot(), AtomicBits::full(identity.chunks))
            .map_err(disk::at(&path))?;
        Ok(())
    }
}
