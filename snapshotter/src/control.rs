//! The control API: what the `peel` command asks. Thin; the numbers are made where they belong.

use std::{path::Path, time::Instant};

use peel_cache::{Evicted, Manual};
use peel_proto::peel::control::v1::{
    EvictRequest, EvictResponse, EvictedLayer, FsckProgress, FsckRequest, GcRequest, GcResponse,
    LayersRequest, LayersResponse, PullsRequest, PullsResponse, StatsRequest, StatsResponse,
    control_server::Control,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    layers::{LazyLayers, report::filesystem},
    metastore::MetastoreError,
    numbers::Numbers,
};

/// Answers from the daemon's memory and metadata.
#[derive(Debug)]
pub struct ControlService {
    layers: LazyLayers,
    numbers: Numbers,
}

impl ControlService {
    /// Shows `layers` and `numbers`.
    #[must_use]
    pub fn new(layers: LazyLayers, numbers: Numbers) -> Self {
        Self { layers, numbers }
    }

    /// Reads metadata and layer files: off the runtime's threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&LazyLayers) -> Result<T, MetastoreError> + Send + 'static,
    ) -> Result<T, Status> {
        let layers = self.layers.clone();
        tokio::task::spawn_blocking(move || read(&layers))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        self.numbers.read().await.map(Response::new)
    }

    async fn layers(&self, _: Request<LayersRequest>) -> Result<Response<LayersResponse>, Status> {
        let layers = self.read(LazyLayers::report).await?;
        Ok(Response::new(LayersResponse { layers }))
    }

    async fn pulls(&self, _: Request<PullsRequest>) -> Result<Response<PullsResponse>, Status> {
        let pulls = self.read(LazyLayers::pulls).await?;
        Ok(Response::new(PullsResponse { pulls }))
    }

    async fn gc(&self, request: Request<GcRequest>) -> Result<Response<GcResponse>, Status> {
        let GcRequest { to_percent, dry_run } = request.into_inner();
        let to_percent = to_percent.map(|percent| {
            u8::try_from(percent)
                .ok()
                .filter(|percent| *percent <= 100)
                .ok_or_else(|| Status::invalid_argument(format!("{percent} is no percentage: 0 to 100")))
        });
        let manual = Manual { to_percent: to_percent.transpose()?, dry_run };
        let begin = Instant::now();
        let round = self.layers.collect(Some(manual)).await;
        let round = round.map_err(|error| Status::internal(format!("{error:#}")))?;
        let planned: u64 = round.evicted.iter().map(|evicted| evicted.bytes).sum();
        Ok(Response::new(GcResponse {
            filesystem: Some(filesystem(round.disk)),
            cached_bytes: round.cached,
            wanted_bytes: round.wanted,
            freed_bytes: if dry_run { planned } else { round.freed },
            evicted: round.evicted.into_iter().map(evicted_layer).collect(),
            state: round.state.to_string(),
            took_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        }))
    }

    type FsckStream = ReceiverStream<Result<FsckProgress, Status>>;

    async fn fsck(&self, request: Request<FsckRequest>) -> Result<Response<Self::FsckStream>, Status> {
        let FsckRequest { repair, root } = request.into_inner();
        let ours = self.layers.served().root();
        if !root.is_empty() && ours.canonicalize().ok().as_deref() != Some(Path::new(&root)) {
            let ours = ours.display();
            return Err(Status::failed_precondition(format!("this daemon serves {ours}, not {root}")));
        }
        Ok(Response::new(ReceiverStream::new(self.layers.fsck(repair))))
    }

    async fn evict(&self, request: Request<EvictRequest>) -> Result<Response<EvictResponse>, Status> {
        let what = request.into_inner().what;
        let evicted = self.layers.evict(what.clone()).await;
        let evicted = evicted.map_err(|error| Status::internal(format!("{error:#}")))?;
        if evicted.is_empty() {
            return Err(Status::not_found(format!("no image or layer that Peel serves is called {what:?}")));
        }
        Ok(Response::new(EvictResponse { evicted: evicted.into_iter().map(evicted_layer).collect() }))
    }
}

fn evicted_layer(evicted: Evicted) -> EvictedLayer {
    EvictedLayer { digest: evicted.key.layer.to_string(), bytes: evicted.bytes, chunks: evicted.chunks }
}
