//! Taking chunks in, and noting what is used.

use std::{
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, atomic::Ordering},
};

use peel_layer::VerifiedChunk;

use super::{Admission, ChunkStore, evict};
use crate::{Urgency, groups::Grouping};

impl ChunkStore {
    /// Stores a verified chunk at its place, if there is room for it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        id: u32,
        at: u64,
        chunk: &VerifiedChunk,
        urgency: Urgency,
    ) -> Admission {
        match self.try_admit(id, at, chunk, urgency) {
            Ok(admission) => {
                if admission == Admission::Stored {
                    self.shared.counters.stored(chunk.bytes().len());
                }
                admission
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::StorageFull {
                    self.shared.gauge.disk_full();
                }
                self.shared.counters.refused(&self.dir, &error);
                Admission::Refused
            }
        }
    }

    fn try_admit(
        self: &Arc<Self>,
        id: u32,
        at: u64,
        chunk: &VerifiedChunk,
        urgency: Urgency,
    ) -> io::Result<Admission> {
        if self.files().is_some_and(|files| files.has(id) && files.is_linked().unwrap_or(false)) {
            return Ok(Admission::Present);
        }
        let length = chunk.bytes().len() as u64;
        let Some(_place) = self.shared.gauge.admit(urgency, length) else {
            return Ok(Admission::Refused);
        };
        let files = self.linked_files()?;
        let _shared = files.admitting.read();
        if files.has(id) {
            return Ok(Admission::Present);
        }
        if let Err(error) = files.data.write_all_at(chunk.bytes(), at) {
            // Half a chunk takes space that no map knows of.
            let _ = files.punch(evict::whole_blocks(at..at + length));
            return Err(error);
        }
        if let Some(learned) = &files.learned {
            learned.set(id, chunk.digest())?;
        }
        files.map.set(id)?;
        self.note_change();
        self.touch(at, length);
        self.mark_unsynced(&files);
        Ok(Admission::Stored)
    }

    /// `length` bytes from `at` were used.
    pub(crate) fn touch(self: &Arc<Self>, at: u64, length: u64) {
        let last = at.saturating_add(length.saturating_sub(1));
        if !self.epochs.touch(at, last, self.shared.clock.now()) {
            return;
        }
        self.note_change();
        if !self.touched.swap(true, Ordering::SeqCst) {
            self.shared.unsynced.lock().push(Arc::clone(self));
        }
    }

    /// When something in the group was last used.
    pub(crate) fn epoch(&self, group: u32) -> u32 {
        self.epochs.get(group)
    }

    /// How its chunks are grouped.
    pub(crate) fn grouping(&self) -> Grouping {
        self.epochs.grouping
    }
}
