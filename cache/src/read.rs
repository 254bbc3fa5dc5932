//! Reading what is there.

use std::{num::NonZeroU64, ops::Range, sync::Arc};

use peel_layer::{
    ChunkDigest, ChunkId, DataOffset, StoreAttestation, UnverifiedChunk, VerifiedBytes, VerifiedChunk,
};

use crate::{Layer, stats::Counters, store::ChunkFiles};

/// Of a chunk whose digest was learned, and cannot be read back.
const NO_DIGEST: &str = "nothing says what it must be";

/// What the cache has of a range.
#[derive(Debug)]
pub enum Read {
    /// All of it, zeros where no chunk is.
    Whole(VerifiedBytes),
    /// These chunks have to be fetched first, in rising order.
    Missing(Vec<ChunkId>),
}

impl Layer {
    /// `range` of the data file, zeros past its end. Reads the disk, never waits for anything else.
    ///
    /// A chunk that cannot be read back, or is found damaged, is forgotten, counted and reported as missing:
    /// the caller fetches it again, and no reader hears of it.
    #[must_use]
    pub fn read(&self, range: Range<DataOffset>) -> Read {
        let size = self.index().data_size().0;
        let (start, end) = (range.start.0.min(size), range.end.0.min(size));
        let length = |range: Range<u64>| usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let (wanted, inside) = (length(range.start.0..range.end.0), length(start..end));
        let ids = self.index().chunks_in(range);
        if ids.is_empty() {
            return Read::Whole(VerifiedBytes::zeros(wanted));
        }
        let all = || ids.clone().map(ChunkId).collect();
        let Some(files) = self.store.files() else { return Read::Missing(all()) };

        let pin = files.pins.pin();
        let missing: Vec<_> = ids.clone().filter(|id| !files.has(*id)).map(ChunkId).collect();
        if !missing.is_empty() {
            return Read::Missing(missing);
        }
        let mut bytes = match files.read(start, inside) {
            Ok(bytes) if bytes.len() == inside => bytes,
            outcome => {
                let error =
                    outcome.err().map_or_else(|| "file is too short".to_owned(), |error| error.to_string());
                for id in ids.clone() {
                    self.forget(&files, ChunkId(id), &error);
                }
                return Read::Missing(all());
            }
        };
        if self.recheck_due(ids.clone(), inside) {
            let damaged: Vec<_> =
                ids.clone().map(ChunkId).filter(|id| !self.recheck(&files, *id, start, &bytes)).collect();
            if !damaged.is_empty() {
                return Read::Missing(damaged);
            }
        }
        drop(pin);
        let first = self.index().chunk(ChunkId(ids.start)).data.start.0;
        self.store.touch(first, end.saturating_sub(first));
        bytes.resize(wanted, 0);
        Read::Whole(VerifiedBytes::from_store(bytes, StoreAttestation::only_verified_chunks_were_stored()))
    }

    /// The chunk, checked against its digest; forgotten when it does not have it.
    #[must_use]
    pub fn chunk(&self, id: ChunkId) -> Option<VerifiedChunk> {
        let files = self.store.files()?;
        let _pin = files.pins.pin();
        if files.has(id.0) { self.verified(&files, id) } else { None }
    }

    /// Whether the chunk's bytes on the disk have its digest. Nothing is forgotten.
    pub(crate) fn is_sound(&self, files: &ChunkFiles, id: ChunkId) -> bool {
        let _pin = files.pins.pin();
        let data = self.index().chunk(id).data;
        if let Some(length) = NonZeroU64::new(data.end.0 - data.start.0) {
            files.forget_pages(data.start.0, length);
        }
        self.read_verified(files, id).is_ok()
    }

    fn verified(&self, files: &Arc<ChunkFiles>, id: ChunkId) -> Option<VerifiedChunk> {
        self.read_verified(files, id).inspect_err(|error| self.forget(files, id, error)).ok()
    }

    /// The chunk from the data file; else what is wrong with it.
    fn read_verified(&self, files: &ChunkFiles, id: ChunkId) -> Result<VerifiedChunk, String> {
        let chunk = self.index().chunk(id);
        let length = chunk.data.end.0 - chunk.data.start.0;
        let length = usize::try_from(length).map_err(|error| error.to_string())?;
        let digest = chunk.digest.or_else(|| files.learned(id.0)).ok_or_else(|| NO_DIGEST.to_owned());
        let bytes = files.read(chunk.data.start.0, length).map_err(|error| error.to_string());
        digest.and_then(|digest| {
            UnverifiedChunk::new(bytes?).verify(&digest).map_err(|error| error.to_string())
        })
    }

    /// Whether chunk `id` has its digest and `bytes`, which were read at `start`, have its bytes.
    fn recheck(&self, files: &Arc<ChunkFiles>, id: ChunkId, start: u64, bytes: &[u8]) -> bool {
        let chunk = self.index().chunk(id);
        let end = start + bytes.len() as u64;
        let part = |range: Range<u64>, base: u64, of: &[u8]| -> Vec<u8> {
            let index = |offset: u64| usize::try_from(offset.saturating_sub(base)).unwrap_or(usize::MAX);
            of.get(index(range.start)..index(range.end)).unwrap_or_default().to_vec()
        };
        let (from, to) = (chunk.data.start.0.max(start), chunk.data.end.0.min(end));
        let read = part(from..to, start, bytes);
        if (from, to) == (chunk.data.start.0, chunk.data.end.0) {
            let (expected, found) = (chunk.digest.or_else(|| files.learned(id.0)), ChunkDigest::of(&read));
            if expected != Some(found) {
                let expected = expected.map_or_else(|| NO_DIGEST.to_owned(), |it| format!("not {it}"));
                self.forget(files, id, &format!("digest is {found}, {expected}"));
            }
            return expected == Some(found);
        }
        self.verified(files, id)
            .is_some_and(|whole| part(from..to, chunk.data.start.0, whole.bytes()) == read)
    }

    fn forget(&self, files: &Arc<ChunkFiles>, id: ChunkId, reason: &str) {
        Counters::add(&self.shared.counters.damaged, 1);
        tracing::warn!(layer = %self.key(), chunk = id.0, reason, "cached chunk is damaged, fetching it again");
        self.store.forget(files, id.0);
    }
}
