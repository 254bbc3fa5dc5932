//! From a layer that was read whole to one that is there.

use std::{fmt, sync::Arc};

use peel_cache::{Layer, PublishError};
use peel_layer::{IndexKey, proof::LayerProof, stream::write_index};

use super::{Stream, StreamFailure, attempt::Whole};

/// Publishes it.
pub(super) async fn publish(stream: &Stream<'_>, whole: Whole) -> Result<Arc<Layer>, StreamFailure> {
    let cache = Arc::clone(&stream.shared.cache);
    // What follows the writing of it waits for the disk, and is not marked.
    let mark = stream.guard.indexing()?;
    let work = move || {
        let Whole { staged, proof, tar, units } = whole;
        publish_now(&cache, staged, &proof, |key, files| {
            let _mark = mark;
            write_index(tar, units, key, files)
        })
    };
    let panicked = |error| Err(StreamFailure::content(&error));
    stream.shared.handle.spawn_blocking(work).await.unwrap_or_else(panicked)
}

fn publish_now<T, E: fmt::Display>(
    cache: &peel_cache::Cache,
    staged: peel_cache::Staged,
    proof: &LayerProof,
    write: impl FnOnce(IndexKey, &mut peel_layer::IndexFiles<'_>) -> Result<T, E>,
) -> Result<Arc<Layer>, StreamFailure> {
    let proven = proof.identity();
    let key = IndexKey::streamed(proven.layer, proven.diff_id);
    cache.publish_staged(&key, staged, proof, |files| write(key, files)).map_err(|error| match error {
        PublishError::Content(error) => StreamFailure::content(&error),
        PublishError::Cache(error) => StreamFailure::local(&error),
    })
}
