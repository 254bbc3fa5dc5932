//! What is executed for a layer, where a successor can see it: a chunk that makes the daemon die is refused in the end,
//! and costs nobody else anything ([`peel_layer::serve::Watch`]).

use std::{ops::Range, sync::Arc};

use peel_cache::Read;
use peel_layer::{
    ChunkId, DataOffset, failpoint,
    serve::{ReadError, Watch, Work},
};

use crate::{LayerReader, fetcher::Fetcher, flight::Claim};

/// Something is being executed for as long as this lives.
pub(crate) type Mark = Option<Box<dyn Send>>;

impl Fetcher {
    /// From now on `watch` knows of all that is executed. The first one stays.
    pub fn watched_by(&self, watch: Arc<dyn Watch>) {
        let _ = self.shared().watch.set(watch);
    }

    /// Who knows of all that is executed.
    #[must_use]
    pub fn watch(&self) -> Option<Arc<dyn Watch>> {
        self.shared().watch.get().cloned()
    }
}

impl LayerReader {
    /// `range` of the data file is being worked on until the result is dropped.
    ///
    /// # Errors
    /// It was the daemon's death before.
    pub(crate) fn executing(&self, range: Range<DataOffset>) -> Result<Mark, ReadError> {
        let Some(watch) = self.shared.watch.get() else { return Ok(None) };
        match watch.execute(Work::Bytes(self.layer().key().layer, range)) {
            Some(mark) => Ok(Some(mark)),
            None => Err(ReadError::Local(self.explain("the daemon died of these bytes, several times"))),
        }
    }

    /// As [`Self::executing`], for one chunk.
    pub(crate) fn executing_chunk(&self, id: ChunkId) -> Result<Mark, ReadError> {
        self.executing(self.layer().index().chunk(id).data)
    }

    /// Ends the flights of what was the daemon's death: before anything of it is fetched.
    pub(crate) fn refuse_condemned(&self, claim: &mut Claim) {
        for id in claim.ids.clone() {
            if let Err(error) = self.executing_chunk(id) {
                claim.split([id]).fail(&error);
            }
        }
    }

    /// What the cache has of `range`.
    pub(crate) fn look(&self, range: Range<DataOffset>) -> Read {
        if cfg!(debug_assertions) {
            for id in self.layer().index().chunks_in(range.clone()).map(ChunkId) {
                failpoint::reach(|| format!("read {}", self.name(id)));
            }
        }
        self.layer().read(range)
    }

    /// A chunk's digest, as failpoints name it.
    pub(crate) fn name(&self, id: ChunkId) -> String {
        self.layer().digest(id).map(|digest| digest.to_string()).unwrap_or_default()
    }
}
