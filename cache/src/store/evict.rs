//! Giving space back: holes in the data file.

use std::{io, ops::Range, sync::Arc, time::Duration};

use rustix::fs::{FallocateFlags, fallocate};

use super::{ChunkFiles, ChunkStore};
use crate::disk::BLOCK;

/// How long an eviction waits for readers of the layer. A reader is between look and read for one pread; who
/// takes this long hangs in a broken disk, and his bytes must not turn into zeros.
const PATIENCE: Duration = Duration::from_secs(10);

impl ChunkStore {
    /// Makes chunks missing and frees their blocks; gives the bytes that this freed. `holes` gives the whole blocks
    /// that belong to absent chunks among `ids`; it is told which chunks are absent.
    ///
    /// Order is everything. The bits go first, in the live and the durable map, the latter synced: punched
    /// before that, a power cut leaves a map that calls zeros present. Then the readers that saw the bits are
    /// waited for. Then the holes, but not where a chunk was admitted again meanwhile.
    pub(crate) fn evict(
        self: &Arc<Self>,
        ids: &[u32],
        holes: impl FnOnce(&dyn Fn(u32) -> bool) -> Vec<Range<u64>>,
    ) -> io::Result<u64> {
        let Some(files) = self.files() else { return Ok(0) };
        let cleared = files.map.clear_all(ids);
        self.note_change();
        if cleared? && files.is_linked()? {
            self.clear_durable(&files)?;
        }
        if !files.pins.wait(PATIENCE) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a reader does not come back"));
        }
        let _alone = files.admitting.write();
        let before = files.disk_bytes();
        holes(&|id| !files.has(id)).into_iter().try_for_each(|hole| files.punch(hole))?;
        Ok(before.saturating_sub(files.disk_bytes()))
    }
}

impl ChunkFiles {
    /// Frees the blocks of `range`.
    pub(super) fn punch(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.data, flags, range.start, range.end - range.start)?)
    }
}

/// The whole blocks in `range`.
pub(crate) fn whole_blocks(range: Range<u64>) -> Range<u64> {
    range.start.next_multiple_of(BLOCK)..range.end / BLOCK * BLOCK
}
