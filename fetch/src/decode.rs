//! From bytes of the blob to chunks in the hands of readers and in the cache. Inflating and hashing take a
//! millisecond per 100 KB, so they run on blocking threads.

use std::{
    ops::{Bound, ControlFlow},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use peel_cache::Admission;
use peel_layer::{ChunkId, UnitId, VerifiedChunk, failpoint, serve::ReadError};

use crate::{Lane, LayerReader, flight::Claim, plan::Run, room::footprint, schedule::Ticket};

/// Why some chunks are left.
pub(crate) enum Problem {
    /// The bytes are not what they should be.
    Wrong(String),
    /// One of them made the thread panic, and has failed. The others had no part in it.
    Panicked,
}

/// Lands every chunk of `claim` that `bytes`, which are `run.range` of the blob, really hold. Gives back what is left
/// and why; nothing when the runtime ends.
pub(crate) async fn decode(
    reader: &Arc<LayerReader>,
    run: &Run,
    bytes: Bytes,
    claim: Claim,
    ticket: &Ticket,
) -> Option<(Claim, Option<Problem>)> {
    let _slot = match ticket.lane() {
        Lane::Demand => None,
        Lane::Prefetch | Lane::Background => reader.shared.decoders.acquire().await.ok(),
    };
    let _room = reader.shared.room.take(footprint(reader.layer().index(), run.ids.iter().copied())).await;
    let work = {
        let (reader, run, lane) = (Arc::clone(reader), run.clone(), ticket.lane());
        move || decode_run(&reader, &run, &bytes, claim, lane)
    };
    reader.shared.handle.spawn_blocking(work).await.ok()
}

fn decode_run(
    reader: &Arc<LayerReader>,
    run: &Run,
    bytes: &[u8],
    mut claim: Claim,
    lane: Lane,
) -> (Claim, Option<Problem>) {
    let index = reader.layer().index();
    let (wanted, mut problem) = (claim.ids.clone(), None);
    let units = UnitId(run.units.start)..UnitId(run.units.end);
    // One chunk after the other is executed: one that is nobody's death must not be taken for it.
    let mark = |id: Option<&ChunkId>| id.and_then(|id| reader.executing_chunk(*id).ok().flatten());
    let mut current = wanted.first().copied();
    let mut executing = mark(current.as_ref());
    let decode = || {
        index.decode_run(units, bytes, &|id| wanted.contains(&id), &mut |id, chunk| {
            current = Some(id);
            failpoint::reach(|| format!("decode {}", reader.name(id)));
            match chunk {
                Ok(chunk) => store(reader, &mut claim, id, chunk, lane),
                Err(error) => problem = Some(Problem::Wrong(error.to_string())),
            }
            current = wanted.range((Bound::Excluded(id), Bound::Unbounded)).next().copied();
            drop(executing.take());
            executing = mark(current.as_ref());
            ControlFlow::Continue(())
        })
    };
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => problem = Some(Problem::Wrong(error.to_string())),
        Err(_) => {
            let guilty = current.or_else(|| claim.ids.first().copied());
            claim.split(guilty).fail(&ReadError::Local(reader.explain("decoding it panicked")));
            problem = Some(Problem::Panicked);
        }
    }
    (claim, problem)
}

/// Hands a chunk out and stores it, if there is room for what comes in this lane.
pub(crate) fn store(
    reader: &Arc<LayerReader>,
    claim: &mut Claim,
    id: ChunkId,
    chunk: VerifiedChunk,
    lane: Lane,
) {
    let overflow = &reader.shared.overflow;
    claim.land(id, chunk, |chunk| match reader.layer().admit_for(lane.urgency(), id, &chunk) {
        Admission::Stored => overflow.clear(),
        Admission::Present => {}
        Admission::Refused => overflow.put(reader.number, id, chunk),
    });
}
