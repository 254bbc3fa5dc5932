//! Chunks that cannot be fetched by themselves: the layer is streamed again for them.
//!
//! A streamed layer has units where its compressor left places to begin at. Some leave none: zstd writes one frame,
//! and fast deflate encoders blocks of any length. To have a chunk of such a unit, everything before it in the unit
//! has to be fetched and decoded; so then the whole layer is, once for all who want chunks of it, with bounded memory.
//! Every chunk that passes is checked against the table's digest, given to who waits, and stored.

use std::sync::Arc;

use peel_layer::{
    ChunkId, Format, LayerIndex,
    serve::ReadError,
    stream::{Compression, TarIndexer},
};

use super::{
    StreamFailure, data,
    download::Download,
    guard::Guard,
    inflate, limits,
    pipe::{Blob, Pipe},
    threads::{StopOnDrop, Threads, ended},
};
use crate::{BlobSource, Config, LayerReader, flight::Claim, plan::Run, stats::Counters};
use chunks::Chunks;

mod chunks;

/// Whether this is the way to have the chunks of `run`.
pub(crate) fn is_for<B: AsRef<[u8]>>(index: &LayerIndex<B>, run: &Run, config: &Config) -> bool {
    let decoded = |id: &ChunkId| {
        let chunk = index.chunk(*id);
        chunk.inner.saturating_add(chunk.length())
    };
    index.format().is_streamed()
        && (run.range.end.0.saturating_sub(run.range.start.0) > config.unit_max
            || run.ids.iter().map(decoded).max().unwrap_or(0) > config.unit_max)
}

/// Ends all flights of `claim`, together with those that others left here.
pub(crate) fn join(reader: &Arc<LayerReader>, claim: Claim) {
    let mut pool = reader.refill.lock();
    match &mut *pool {
        Some(pool) => pool.absorb(claim),
        None => {
            *pool = Some(claim);
            reader.shared.handle.spawn(run(Arc::clone(reader)));
        }
    }
}

/// Streams until nobody wants anything. Chunks that are asked for after they have passed need another round.
async fn run(reader: Arc<LayerReader>) {
    let _turn = reader.shared.refills.acquire().await;
    loop {
        let outcome = rounds(&reader).await;
        let mut pool = reader.refill.lock();
        if let (Err(error), Some(claim)) = (outcome, &mut *pool) {
            claim.fail(&error);
        }
        if pool.as_ref().is_none_or(|claim| claim.ids.is_empty()) {
            *pool = None;
            return;
        }
    }
}

/// Once through the layer; from other sources when one has sent wrong bytes.
async fn rounds(reader: &Arc<LayerReader>) -> Result<(), ReadError> {
    let mut sources = reader.sources().to_vec();
    loop {
        let (error, giver) = match pass(reader, &sources).await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        tracing::warn!(layer = %reader.layer().key().layer, %error, "streaming it again for some chunks failed");
        reader.note(&error.to_string());
        match error {
            StreamFailure::Content { .. } => {
                Counters::add(&reader.shared.counters.mismatches, 1);
                let before = sources.len();
                sources.retain(|source| giver.as_ref() != Some(&source.describe()));
                if sources.is_empty() || sources.len() == before {
                    return Err(ReadError::Corrupt(reader.explain("no source has the right bytes")));
                }
            }
            StreamFailure::Unavailable { .. } => {
                return Err(ReadError::Unavailable(reader.explain("no source has it")));
            }
            StreamFailure::Condemned { .. } => {
                return Err(ReadError::Local(reader.explain(&error.to_string())));
            }
            StreamFailure::Local { message, .. } => return Err(ReadError::Local(message)),
        }
    }
}

async fn pass(
    reader: &Arc<LayerReader>,
    sources: &[Arc<dyn BlobSource>],
) -> Result<(), (StreamFailure, Option<String>)> {
    let index = reader.layer().index();
    let (size, compression) = (index.blob_size(), compression(index.format()));
    let pipe = Arc::new(Pipe::new(Blob::passing(), 0, None));
    let download = Download {
        shared: Arc::clone(&reader.shared),
        number: reader.number,
        pipe: Arc::clone(&pipe),
        sources: sources.to_vec(),
        size,
        progress: Arc::default(),
    };
    let (buffers, tar) = inflate::buffers();
    let stop = StopOnDrop::new(&pipe);
    let threads = Threads::new(&reader.shared.handle, &pipe, ());
    let download = threads.start(move |_| download.run());
    let guard = Guard::new(&reader.shared, reader.layer().key().layer);
    let inflating = guard.clone();
    let inflate = threads.start(move |pipe| inflate::inflate(pipe, &inflating, (size, compression), buffers));
    let chunks = Chunks::new(Arc::clone(reader));
    let take = threads.start(move |_| take(&guard, &tar, chunks));
    let ended = (ended(download).await, ended(inflate).await, ended(take).await);
    stop.not_any_more();
    let error = match ended {
        (Some(found), Some(_), Some(())) if found == reader.layer().key().layer => return Ok(()),
        // Each chunk that passed was right; but those that somebody waits for need not be in another blob at all, and
        // would be looked for in it for ever.
        (Some(found), Some(_), Some(())) => {
            StreamFailure::content(&format_args!("the blob that came has digest {found}"))
        }
        _ => {
            let panicked = || StreamFailure::content(&"a thread that works on it has panicked");
            pipe.failure().unwrap_or_else(panicked)
        }
    };
    Err((error, pipe.only_giver()))
}

/// What the blob turned out to be when its index was made.
pub(crate) fn compression(format: Format) -> Compression {
    match format {
        Format::Tar => Compression::None,
        Format::Zstd | Format::ZstdChunked => Compression::Zstd,
        Format::Gzip | Format::Soci | Format::EStargz => Compression::Gzip,
    }
}

fn take(guard: &Guard, tar: &inflate::Tar, mut chunks: Chunks) -> Result<Option<()>, StreamFailure> {
    let mut indexer = TarIndexer::new(&limits());
    let whole =
        tar.each(guard, |bytes| indexer.push(bytes, &mut chunks).map_err(|error| data::failure(&error)))?;
    Ok(whole.then_some(()))
}
