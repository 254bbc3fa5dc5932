//! A layer on its way under the guard against bytes that are the daemon's death ([`peel_layer::serve::Watch`]).
//!
//! Streaming is marked piece by piece. The pieces have the same borders each time, however the bytes come: a layer that
//! kills the daemon is killing it at the same piece, while one that is only there when the daemon is killed has come
//! further, or less far, at the next death.

use std::sync::Arc;

use peel_layer::{
    BlobOffset, LayerDigest, failpoint,
    serve::{Watch, Work},
};

use super::StreamFailure;
use crate::{fetcher::Shared, watch::Mark};

/// Bytes of a piece. Small, so that a daemon that is killed again and again is hardly killed in the same one; at 480
/// MB/s, which inflating makes, there are 7,000 of them in a second, and a mark costs some 100 ns.
pub(super) const PIECE: usize = 64 << 10;

/// Marks what is executed for one layer.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    layer: LayerDigest,
    watch: Option<Arc<dyn Watch>>,
}

impl Guard {
    pub(super) fn new(shared: &Shared, layer: LayerDigest) -> Self {
        Self { layer, watch: shared.watch.get().cloned() }
    }

    /// Before anything is fetched.
    ///
    /// # Errors
    /// Something of the layer was the daemon's death before.
    pub(super) fn check(&self) -> Result<(), StreamFailure> {
        self.execute(Work::Inflate(self.layer, BlobOffset(0)..BlobOffset(u64::MAX)))?;
        self.execute(Work::Untar(self.layer, 0..u64::MAX))?;
        self.execute(Work::Index(self.layer)).map(drop)
    }

    /// The piece of the blob that has the byte `at` is being decompressed until the result is dropped.
    ///
    /// # Errors
    /// It was the daemon's death before.
    pub(super) fn inflating(&self, at: u64) -> Result<Mark, StreamFailure> {
        let start = at - at % PIECE as u64;
        let mark =
            self.execute(Work::Inflate(self.layer, BlobOffset(start)..BlobOffset(start + PIECE as u64)));
        failpoint::reach(|| format!("inflate {}", self.layer));
        mark
    }

    /// As [`Self::inflating`], for a piece of the tar.
    pub(super) fn reading_tar(&self, at: u64) -> Result<Mark, StreamFailure> {
        let start = at - at % PIECE as u64;
        let mark = self.execute(Work::Untar(self.layer, start..start + PIECE as u64));
        failpoint::reach(|| format!("untar {}", self.layer));
        mark
    }

    /// As [`Self::inflating`], for the layer's index.
    pub(super) fn indexing(&self) -> Result<Mark, StreamFailure> {
        self.execute(Work::Index(self.layer))
    }

    fn execute(&self, work: Work) -> Result<Mark, StreamFailure> {
        let Some(watch) = &self.watch else { return Ok(None) };
        let what = match &work {
            Work::Inflate(..) => "decompressing its blob",
            Work::Untar(..) => "reading its tar",
            Work::Index(_) | Work::Bytes(..) => "making its index",
        };
        watch.execute(work).map(Some).ok_or(StreamFailure::Condemned { what })
    }
}
