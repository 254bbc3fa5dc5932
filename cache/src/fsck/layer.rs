//! One layer: index, maps, chunks.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use peel_layer::ChunkId;
use sha2::{Digest as _, Sha256};

use super::{Check, Damage};
use crate::{
    Cache, CacheError, Layer, disk,
    layer::TREE,
    map::AtomicBits,
    stats::Counters,
    store::{ChunkFiles, ChunkStore, Shape},
    summary::WhenClosed,
    tree,
};

/// Ids that a finding names.
const SHOWN: usize = 8;
/// Bytes between two words of progress: a second of a slow disk.
const STRIDE: u64 = 16 << 20;
/// A cache directory that was deleted is being made anew meanwhile: then its files do not fit for a moment.
const MOMENT: Duration = Duration::from_millis(100);

impl Cache {
    pub(super) fn check_layer(&self, check: &mut Check<'_>, name: &str) -> ControlFlow<()> {
        let shape = match self.sound_index(name) {
            // Deleted under the daemon: resolved again when somebody needs it.
            Ok(None) => return ControlFlow::Continue(()),
            Ok(Some(shape)) => shape,
            Err(error) => {
                let path = self.index_dir().join(name);
                let damage = Damage::Index(error.to_string());
                return check.found(name, path, damage, || self.drop_index(name));
            }
        };
        let dir = self.index_dir().join(name);
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if let Some(reason) = derived_tree_damage(&entry.path()) {
                let path = entry.path();
                check.found(name, path.clone(), Damage::Index(reason), || {
                    fs::remove_file(&path).map_err(disk::at(&path))
                })?;
            }
        }
        let dir = self.cache_dir().join(name);
        match self.maps_fit(name, shape) {
            Ok(false) => return ControlFlow::Continue(()),
            Ok(true) => {}
            Err(error) => {
                let damage = Damage::Map(error.to_string());
                return check.found(name, dir.clone(), damage, || disk::remove_dir(&dir));
            }
        }
        match self.look_at(name) {
            Ok(Some(layer)) => check_chunks(check, &layer, &dir.join("data")),
            // Removed meanwhile, or its index broke just now.
            Ok(None) | Err(_) => ControlFlow::Continue(()),
        }
    }

    /// What a sound index says of the data file; nothing where there is no index.
    fn sound_index(&self, name: &str) -> Result<Option<Shape>, CacheError> {
        let dir = self.index_dir().join(name);
        let Some(index) = Layer::open_index(&dir, name)? else { return Ok(None) };
        tree::open(&dir.join(TREE), index.tree_digest())?;
        Ok(Some(Shape::of(&index, self.group_bytes())))
    }

    /// Whether there are chunks. An error says why they cannot be used.
    fn maps_fit(&self, name: &str, shape: Shape) -> Result<bool, CacheError> {
        let slot = self.slot_or_new(name);
        // Nobody opens the layer meanwhile.
        let _slot = slot.lock();
        let dir = self.cache_dir().join(name);
        let examine = || ChunkStore::examine(dir.clone(), shape, self.boot(), Arc::clone(&self.shared));
        let fit = examine().or_else(|_| {
            thread::sleep(MOMENT);
            examine()
        });
        fit.map_err(disk::at(dir.clone()))
    }

    /// Takes a damaged index away. Who has the layer open keeps it so; who asks for it next resolves it again. Its chunks
    /// wait for that, unless this is the only process: a start would remove them.
    fn drop_index(&self, name: &str) -> Result<(), CacheError> {
        let slot = self.slot_or_new(name);
        let mut slot = slot.lock();
        slot.layer = Weak::new();
        slot.when_closed = WhenClosed::default();
        self.close(name);
        disk::remove_dir(&self.index_dir().join(name))?;
        if self.is_as_found() { disk::remove_dir(&self.cache_dir().join(name)) } else { Ok(()) }
    }
}

/// Reads every chunk that one of the maps has, and has none but bad ones evicted.
fn check_chunks(check: &mut Check<'_>, layer: &Layer, data: &Path) -> ControlFlow<()> {
    let Some(files) = layer.store.files() else { return ControlFlow::Continue(()) };
    let durable = layer.store.durable_of(&files).unwrap_or_default();
    let (mut bad, mut told) = (Vec::new(), check.checked.bytes);
    let both = AtomicBits::union(layer.index().chunk_count(), files.bits(), &durable);
    for id in both.iter().map(ChunkId) {
        let sound = layer.is_sound(&files, id);
        // Only the durable map had it, and that has been written anew meanwhile.
        let outdated = || !files.has(id.0) && !durable_still(layer, &files, id);
        if !sound && !outdated() {
            bad.push(id);
        }
        check.checked.chunks += 1;
        check.checked.bytes += layer.index().chunk(id).length();
        if check.checked.bytes - told >= STRIDE {
            told = check.checked.bytes;
            check.go_on()?;
        }
        // Readers first.
        thread::yield_now();
    }
    if bad.is_empty() {
        return ControlFlow::Continue(());
    }
    let first = bad.iter().take(SHOWN).map(|id| id.0).collect();
    let damage = Damage::Chunks(bad.len() as u64, first);
    check.found(layer.name(), data.to_owned(), damage, || {
        Counters::add(&layer.shared.counters.damaged, bad.len() as u64);
        layer.evict(&bad)?;
        layer.store.clear_durable(&files).map_err(disk::at(data))
    })
}

/// What a reader forgets leaves the durable map at the next sync.
fn durable_still(layer: &Layer, files: &ChunkFiles, id: ChunkId) -> bool {
    !files.is_unsynced() && layer.store.durable_of(files).is_some_and(|durable| durable.get(id.0))
}

/// What is wrong with a derived tree, whose name has the first 16 digits of its sha256.
fn derived_tree_damage(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let expected = u64::from_str_radix(name.strip_prefix("tree-")?.strip_suffix(".erofs")?, 16).ok()?;
    let image = match disk::map(path) {
        Ok(image) => image?,
        Err(error) => return Some(error.to_string()),
    };
    let digest: [u8; 32] = Sha256::digest(image.as_ref()).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    let found = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (found != expected).then(|| "its sha256 is another".to_owned())
}
