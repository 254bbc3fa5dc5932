//! Layers without an index: read once from end to end, at the speed of the link ([`Fetcher::stream`]).

use std::{sync::Arc, time::Duration};

use peel_cache::Layer;
use peel_fetch::{Refusal, StreamFailure, StreamProgress, StreamWanted};
use peel_layer::{DiffId, proof::LayerIdentity, stream::Compression};

use super::Wanted;
use crate::layers::{
    error::{Cause, GateError},
    progress::Progress,
    served::Served,
};

/// How often progress is passed on to the gate.
const TICK: Duration = Duration::from_millis(100);

/// Streams the layer, and publishes it once its digest and its diff id are proven.
pub(super) async fn layer(
    wanted: Wanted,
    (diff_id, compression): (DiffId, Compression),
    served: Arc<Served>,
    progress: Arc<Progress>,
) -> Result<Arc<Layer>, GateError> {
    let identity = LayerIdentity { layer: wanted.key.layer, diff_id };
    let stream = StreamWanted { identity, size: wanted.size, compression };
    let sources = served.sources(&wanted.key);
    if sources.is_empty() {
        return Err(wanted.error(Cause::Local, "no place is known that has it"));
    }
    let streamed = Arc::new(StreamProgress::default());
    let work = served.fetcher.stream(&stream, &sources, &streamed);
    tokio::pin!(work);
    let (mut fetched, mut stored) = (0, 0);
    loop {
        let outcome = tokio::time::timeout(TICK, &mut work).await;
        // A second attempt begins at 0 again.
        let (now_fetched, now_stored) = (streamed.fetched(), streamed.stored());
        progress.download(now_fetched, streamed.total());
        progress.add(now_fetched.saturating_sub(fetched) + now_stored.saturating_sub(stored));
        (fetched, stored) = (now_fetched, now_stored);
        if let Ok(outcome) = outcome {
            return outcome.map_err(|failure| wanted.error(cause(&failure), failure));
        }
    }
}

fn cause(failure: &StreamFailure) -> Cause {
    match failure {
        StreamFailure::Unavailable { refusal: Some(refusal), .. } => match refusal {
            Refusal::Unauthenticated => Cause::Unauthenticated,
            Refusal::Forbidden => Cause::Forbidden,
            Refusal::Tls => Cause::Tls,
            Refusal::Missing => Cause::Missing,
            Refusal::Other => Cause::Unavailable,
        },
        StreamFailure::Unavailable { refusal: None, .. } => Cause::Unavailable,
        StreamFailure::Content { wrong_blob: true, .. } => Cause::WrongBytes,
        // Damaged, lying, or beyond a limit of ours: containerd looks for itself, and checks the diff id too.
        StreamFailure::Content { wrong_blob: false, .. } | StreamFailure::Condemned { .. } => {
            Cause::LayerRefused
        }
        StreamFailure::Local { .. } => Cause::Local,
    }
}
