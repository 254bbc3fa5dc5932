//! eStargz: footer and TOC are at the end of the blob, so that one ranged read usually has both.

use std::sync::Arc;

use peel_cache::{Cache, Layer};
use peel_layer::{IndexFiles, Limits, estargz};

use super::blob::Blob;
use crate::layers::error::{Cause, GateError};

/// Reads the TOC, checks it against the digest in the manifest, and publishes the index.
pub(super) async fn index(blob: &Blob<'_>, cache: &Arc<Cache>) -> Result<Arc<Layer>, GateError> {
    let (wanted, key) = (blob.wanted, blob.wanted.key);
    let tail = blob.tail().await?;
    let location = estargz::footer(&tail.bytes, wanted.size, &Limits::default())
        .map_err(|error| wanted.error(Cause::IndexRefused, error))?;
    let toc = blob.read_with(&tail, location.range()).await?;
    let build = move |files: &mut IndexFiles<'_>| {
        estargz::build_index(key.layer, &location, &toc, key.described_by, &Limits::default(), files)
    };
    wanted.publish(cache, build).await
}
