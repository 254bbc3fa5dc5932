//! zstd:chunked: an annotation usually says where the TOC is, else the footer does.

use std::sync::Arc;

use peel_cache::{Cache, Layer};
use peel_layer::{
    IndexFiles, Limits,
    zstd_chunked::{self, Vouched},
};

use super::blob::Blob;
use crate::layers::error::{Cause, GateError};

/// Reads the TOC, checks it against what the manifest vouches for, and publishes the index.
pub(super) async fn index(
    blob: &Blob<'_>,
    vouched: Vouched,
    position: Option<&str>,
    cache: &Arc<Cache>,
) -> Result<Arc<Layer>, GateError> {
    let (wanted, layer, limits) = (blob.wanted, blob.wanted.key.layer, Limits::default());
    let refused = |error| wanted.error(Cause::IndexRefused, error);
    let (location, toc) = match position {
        Some(position) => {
            let location = zstd_chunked::position(position, wanted.size, &limits).map_err(refused)?;
            let toc = blob.read(location.range()).await?;
            (location, toc)
        }
        None => {
            let tail = blob.tail().await?;
            let location = zstd_chunked::footer(&tail.bytes, wanted.size, &limits).map_err(refused)?;
            let toc = blob.read_with(&tail, location.range()).await?;
            (location, toc)
        }
    };
    let build = move |files: &mut IndexFiles<'_>| {
        zstd_chunked::build_index(layer, &location, &toc, vouched, &Limits::default(), files)
    };
    wanted.publish(cache, build).await
}
