//! One way through a layer, from its first byte to its last, on three threads.

use std::sync::Arc;

use peel_cache::Staged;
use peel_layer::{
    proof::{LayerIdentity, LayerProof},
    stream::{TarIndexed, Units},
};

use super::{
    Stream, StreamFailure, StreamProgress, StreamWanted, data,
    download::Download,
    guard::Guard,
    inflate, local_file,
    pipe::{Blob, Pipe},
    threads::{StopOnDrop, Threads, ended},
};
use crate::{BlobSource, fetcher::Shared};

/// What the threads work on.
pub(super) struct Attempt {
    shared: Arc<Shared>,
    wanted: StreamWanted,
    staged: Staged,
    pipe: Arc<Pipe>,
    download: Download,
    guard: Guard,
}

/// A layer that was read, decoded and stored, and is what its image says.
pub(super) struct Whole {
    pub(super) staged: Staged,
    pub(super) proof: LayerProof,
    pub(super) tar: TarIndexed,
    pub(super) units: Units,
}

/// An attempt that came to nothing.
pub(super) struct Failed {
    pub(super) error: StreamFailure,
    /// The folder, with what came.
    pub(super) staged: Option<Staged>,
    /// Who gave all the bytes, if it was one source.
    pub(super) giver: Option<String>,
    /// All bytes came, and they are the manifest's blob: what is wrong with them is the image's fault.
    pub(super) is_the_blob: bool,
}

impl Attempt {
    /// Opens what is there: a file with the whole blob, or what came so far.
    pub(super) fn begin(
        stream: &Stream<'_>,
        staged: Staged,
        sources: &[Arc<dyn BlobSource>],
    ) -> Result<Self, StreamFailure> {
        let local = |error| StreamFailure::local(&error);
        let size = stream.wanted.size;
        let pipe = match local_file(sources, size) {
            Some((file, name)) => Pipe::new(Blob::File(file), size, Some(name)),
            None => {
                let blob = staged.blob().map_err(local)?;
                let length = blob.length().map_err(local)?;
                // Longer than the layer: of another time, or damaged.
                if length > size {
                    blob.cut(0).map_err(local)?;
                }
                Pipe::new(Blob::Staged(blob), if length > size { 0 } else { length }, None)
            }
        };
        stream.progress.restart(size);
        let pipe = Arc::new(pipe);
        let download = Download {
            shared: Arc::clone(&stream.shared),
            number: stream.number,
            pipe: Arc::clone(&pipe),
            sources: sources.to_vec(),
            size,
            progress: Arc::clone(stream.progress),
        };
        let wanted = stream.wanted;
        let (shared, guard) = (Arc::clone(&stream.shared), stream.guard.clone());
        Ok(Self { shared, wanted, staged, pipe, download, guard })
    }

    /// Runs to the end. When it is dropped on the way the threads end by themselves.
    pub(super) async fn run(self, progress: &Arc<StreamProgress>) -> Result<Whole, Failed> {
        let Self { shared, wanted, staged, pipe, download, guard, .. } = self;
        let fail = |error, staged| Failed { error, staged, giver: pipe.only_giver(), is_the_blob: false };
        let data = match staged.data() {
            Ok(data) => data,
            Err(error) => return Err(fail(StreamFailure::local(&error), Some(staged))),
        };
        let (buffers, tar) = inflate::buffers();
        let stop = StopOnDrop::new(&pipe);
        let threads = Threads::new(&shared.handle, &pipe, staged);
        let download = threads.start(move |_| download.run());
        let (inflating, what) = (guard.clone(), (wanted.size, wanted.compression));
        let inflate = threads.start(move |pipe| inflate::inflate(pipe, &inflating, what, buffers));
        let progress = Arc::clone(progress);
        let store = threads.start(move |pipe| data::store(pipe, &guard, &tar, data, &progress));
        let (layer, units, stored) = (ended(download).await, ended(inflate).await, ended(store).await);
        stop.not_any_more();
        let staged = threads.held();
        let is_the_blob = layer == Some(wanted.identity.layer);
        let error = match (layer, units, stored) {
            (Some(layer), Some(units), Some((tar, diff_id))) => {
                match LayerProof::check(wanted.identity, LayerIdentity { layer, diff_id }) {
                    Ok(proof) => match staged {
                        Some(staged) => return Ok(Whole { staged, proof, tar, units }),
                        None => panicked(),
                    },
                    Err(error) => StreamFailure::content(&error),
                }
            }
            _ => pipe.failure().unwrap_or_else(panicked),
        };
        let error = if layer.is_some() && !is_the_blob { error.of_wrong_blob() } else { error };
        Err(Failed { is_the_blob, ..fail(error, staged) })
    }
}

fn panicked() -> StreamFailure {
    StreamFailure::content(&"a thread that works on it has panicked")
}
