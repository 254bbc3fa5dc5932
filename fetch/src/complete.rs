//! A lazy layer is read whole, in order: what is missing of it is stored on the way, and what all of it is becomes known.
//!
//! Until then its diff id is only what its image claims (docs/trust.md). Nobody waits for this: it goes through the blob
//! in small pieces, each with a permit of the background lane, so that a reader waits for one piece at most. It has two
//! halves ([`Passing`]): the digests of blob and tar, and the chunks that are not here, each verified by the chunk table
//! as if a reader had asked for it.
//!
//! All bytes of one pass come from one source: so it is known who gave wrong ones.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use peel_layer::{BlobOffset, DiffId, LayerDigest, serve::ReadError};
use tokio::time::{Instant, sleep, timeout};

use crate::{BlobSource, Lane, LayerReader, SourceError, retry::jittered, schedule::Ticket, stats::Counters};
use passing::Passing;

mod chunks;
mod passing;

/// Bytes of one request: 8 ms at 1 Gbit/s, for which a reader waits at most.
const PIECE: u64 = 1 << 20;
/// The same while a reader waits (design.md, "Readiness is the goal": at most 256 KiB in flight).
const SMALL_PIECE: u64 = 256 << 10;

/// What a layer's blob, which has the digest that it must have, turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A tar with this digest.
    Tar(DiffId),
    /// It cannot be decompressed to its end, for this reason: it has no diff id, so that none that is claimed is right.
    Undecodable(String),
}

impl LayerReader {
    /// Reads the whole blob, from the first source that has it. Not bounded as a whole, but every wait for a piece is,
    /// by [`crate::Config::read_timeout`]. Dropping the future ends it; what came stays. Chunks are stored while the
    /// cache has room for background work; without room the blob is still read for its digests.
    ///
    /// # Errors
    /// No source gave all of it, or all of them gave other bytes than the layer's.
    pub async fn complete(self: &Arc<Self>) -> Result<Content, ReadError> {
        let expected = self.layer().key().layer;
        let mut last = ReadError::Unavailable(self.explain("no source is known"));
        let mut asked = HashSet::new();
        for source in self.sources().iter() {
            let name = source.describe();
            if !asked.insert(name.clone()) {
                continue;
            }
            match self.pass(source.as_ref(), &name).await {
                Ok((found, content)) if found == expected => return Ok(content),
                Ok((found, _)) => {
                    Counters::add(&self.shared.counters.mismatches, 1);
                    tracing::warn!(layer = %expected, source = name, %found, "a source has another blob under the layer's name");
                    last = ReadError::Corrupt(self.explain("no source has the right bytes"));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Once through the blob of one source.
    async fn pass(
        self: &Arc<Self>,
        source: &dyn BlobSource,
        name: &str,
    ) -> Result<(LayerDigest, Content), ReadError> {
        let interrupted =
            |error: tokio::task::JoinError| ReadError::Local(self.explain(&format!("interrupted: {error}")));
        let handle = &self.shared.handle;
        let mut passing = Passing::new(Arc::clone(self));
        let mut at = 0;
        let mut piece = self.piece(source, name, at).await?;
        while !piece.is_empty() {
            at += piece.len() as u64;
            let work = handle.spawn_blocking(move || {
                passing.push(&piece);
                passing
            });
            let (next, passed) = tokio::join!(self.piece(source, name, at), work);
            passing = passed.map_err(interrupted)?;
            piece = next?;
        }
        handle.spawn_blocking(move || passing.finish()).await.map_err(interrupted)
    }

    /// The bytes from `at` on, as many as are asked for at a time; none at the end of the blob.
    async fn piece(&self, source: &dyn BlobSource, name: &str, at: u64) -> Result<Bytes, ReadError> {
        let (shared, size) = (&self.shared, self.layer().index().blob_size());
        let config = shared.config();
        let (ticket, mut pause, mut deadline) = (Ticket::new(Lane::Background), config.backoff, None);
        if at >= size {
            return Ok(Bytes::new());
        }
        loop {
            let permit = shared.scheduler.permit(self.number, &ticket).await;
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + config.read_timeout);
            let longest = if shared.scheduler.readers_wait() { SMALL_PIECE } else { PIECE };
            let end = size.min(at + longest);
            Counters::add(&shared.counters.requests, 1);
            let answer = timeout(config.request_timeout, source.read(BlobOffset(at)..BlobOffset(end))).await;
            drop(permit);
            let error = match answer {
                Ok(Ok(bytes)) if bytes.len() as u64 == end - at => {
                    Counters::add(shared.counters.received(source, Lane::Background), end - at);
                    return Ok(bytes);
                }
                Ok(Ok(bytes)) => SourceError::transient(format!("{name}: {} bytes came", bytes.len())),
                Ok(Err(error)) => error,
                Err(_) => SourceError::transient(format!("{name}: no answer in time")),
            };
            self.note(&error.to_string());
            let SourceError::Transient { after, .. } = error else {
                return Err(ReadError::Unavailable(self.explain("it cannot be read whole")));
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ReadError::TimedOut(self.explain("it cannot be read whole")));
            }
            sleep(config.pause(jittered(pause), after).min(left)).await;
            Counters::add(&shared.counters.retries, 1);
            pause = pause.saturating_mul(2).min(config.backoff_max);
        }
    }
}
