//! The work behind a claim: content that is here already, then requests, each decoded and, when it held wrong bytes,
//! made once more elsewhere.

use std::sync::Arc;

use peel_layer::{ChunkId, DataOffset, FileDigest, VerifiedChunk, index::LargeFile, serve::ReadError};

use crate::{
    Lane, LayerReader,
    decode::{Problem, decode, store},
    flight::Claim,
    plan::{self, Run},
    retry::Round,
    room::footprint,
    schedule::Ticket,
    stats::Counters,
    stream::refill,
};

/// Ends all flights of `claim`.
pub(crate) async fn run(reader: Arc<LayerReader>, claim: Claim, ticket: Arc<Ticket>) {
    let handle = reader.shared.handle.clone();
    let search = {
        let _room =
            reader.shared.room.take(footprint(reader.layer().index(), claim.ids.iter().copied())).await;
        let (reader, lane) = (Arc::clone(&reader), ticket.lane());
        handle.spawn_blocking(move || take_shared(&reader, claim, lane)).await
    };
    // A panic dropped the claim, which told everybody.
    let Ok(mut claim) = search else { return };
    reader.refuse_condemned(&mut claim);
    let config = reader.shared.config();
    for run in plan::runs(reader.layer().index(), &claim.ids, &config) {
        let claim = claim.split(run.ids.iter().copied());
        if refill::is_for(reader.layer().index(), &run, &config) {
            refill::join(&reader, claim);
            continue;
        }
        handle.spawn(fetch_run(Arc::clone(&reader), run, claim, Arc::clone(&ticket)));
    }
}

/// Lands what other layers have. Same bytes, another place: they pass this layer's digest like fetched ones.
fn take_shared(reader: &Arc<LayerReader>, mut claim: Claim, lane: Lane) -> Claim {
    for id in claim.ids.clone() {
        // Refused below.
        let Ok(_mark) = reader.executing_chunk(id) else { continue };
        if let Some(chunk) = find_shared(reader, id) {
            Counters::add(&reader.shared.counters.shared_chunks, 1);
            Counters::add(&reader.shared.counters.shared_bytes, chunk.bytes().len() as u64);
            store(reader, &mut claim, id, chunk, lane);
        }
    }
    claim
}

/// A chunk's bytes from another layer: as a chunk of its own there, or as a part of the same file.
fn find_shared(reader: &LayerReader, id: ChunkId) -> Option<VerifiedChunk> {
    let (layer, cache) = (reader.layer(), &reader.shared.cache);
    let digest = layer.digest(id)?;
    cache.find_content(&digest).or_else(|| {
        let data = layer.index().chunk(id).data;
        let file = layer.index().large_file_at(data.start);
        // A file of one chunk has that one's digest, and may be several elsewhere.
        let alone = || LargeFile { data: data.clone(), digest: FileDigest::from_bytes(*digest.as_bytes()) };
        let LargeFile { data: file, digest: whole } = file.unwrap_or_else(alone);
        let within = |offset: DataOffset| offset.0.saturating_sub(file.start.0);
        cache.find_part(&whole, within(file.end), &(within(data.start)..within(data.end)), &digest)
    })
}

/// One request and, if some of its chunks are wrong, the request for those from another source.
async fn fetch_run(reader: Arc<LayerReader>, mut run: Run, mut claim: Claim, ticket: Arc<Ticket>) {
    let mut round = Round::default();
    loop {
        let (bytes, source) = match round.fetch(&reader, &run.range, &ticket).await {
            Ok(answer) => answer,
            Err(error) => return claim.fail(&error),
        };
        let Some((left, error)) = decode(&reader, &run, bytes, claim, &ticket).await else { return };
        claim = left;
        let error = match error {
            None => return,
            Some(Problem::Wrong(error)) => error,
            Some(Problem::Panicked) => {
                // Each turn has one chunk less.
                let index = reader.layer().index();
                let Some(left) = Run::spanning(index, claim.ids.iter().copied().collect()) else { return };
                run = left;
                continue;
            }
        };
        Counters::add(&reader.shared.counters.mismatches, claim.ids.len() as u64);
        let error = format!("{source}: {error}");
        tracing::warn!(layer = %reader.layer().key().layer, error, "wrong bytes");
        reader.note(&error);
        if !round.try_another(reader.sources().len()) {
            return claim.fail(&ReadError::Corrupt(reader.explain("no source has the right bytes")));
        }
        // Only what is wrong, in one range: units between that are right are not decoded again.
        let index = reader.layer().index();
        let Some(left) = Run::spanning(index, claim.ids.iter().copied().collect()) else { return };
        run = left;
    }
}
