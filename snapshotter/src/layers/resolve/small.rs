//! A small blob was fetched whole: all of its chunks go to the cache at once.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use peel_cache::Layer;
use peel_layer::UnitId;

/// Decodes and stores what is not here yet. What does not work is not an error: those chunks are fetched, and checked
/// again, when somebody reads them.
pub(super) async fn fill(layer: &Arc<Layer>, blob: Bytes) {
    let layer = Arc::clone(layer);
    let key = layer.key();
    if let Err(error) = tokio::task::spawn_blocking(move || store(&layer, &blob)).await {
        tracing::warn!(layer = %key.layer, %error, "a small layer was not stored");
    }
}

fn store(layer: &Layer, blob: &[u8]) {
    let index = layer.index();
    let units = 0..index.unit_count();
    let range = index.range_of(&units);
    let at = |offset: peel_layer::BlobOffset| usize::try_from(offset.0).unwrap_or(usize::MAX);
    let bytes = blob.get(at(range.start)..at(range.end)).unwrap_or_default();
    let missing = |id| !layer.has(id);
    let decoded =
        index.decode_run(UnitId(units.start)..UnitId(units.end), bytes, &missing, &mut |id, chunk| {
            match chunk {
                Ok(chunk) => drop(layer.admit(id, &chunk)),
                Err(error) => {
                    tracing::warn!(layer = %layer.key(), %error, "a chunk of a small layer is wrong")
                }
            }
            ControlFlow::Continue(())
        });
    if let Err(error) = decoded {
        tracing::warn!(layer = %layer.key(), %error, "a small layer is damaged");
    }
}
