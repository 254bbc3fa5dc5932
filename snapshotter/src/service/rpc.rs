//! The RPCs: each takes its request apart and hands it to the file that knows the rule.

use futures::{StreamExt as _, stream::BoxStream};
use peel_proto::containerd::services::snapshots::v1::{self as api, snapshots_server::Snapshots};
use tonic::{Request, Response, Status};

use super::{SnapshotService, look::Look, prepare::New};
use crate::{leases::Lease, metastore::Kind};

#[tonic::async_trait]
impl Snapshots for SnapshotService {
    type ListStream = BoxStream<'static, Result<api::ListSnapshotsResponse, Status>>;

    async fn prepare(
        &self,
        request: Request<api::PrepareSnapshotRequest>,
    ) -> Result<Response<api::PrepareSnapshotResponse>, Status> {
        let lease = Lease::of(request.metadata());
        let api::PrepareSnapshotRequest { key, parent, labels, .. } = request.into_inner();
        let mounts = self.0.prepare(New { kind: Kind::Active, key, parent, labels, lease }).await?;
        Ok(Response::new(api::PrepareSnapshotResponse { mounts }))
    }

    async fn view(
        &self,
        request: Request<api::ViewSnapshotRequest>,
    ) -> Result<Response<api::ViewSnapshotResponse>, Status> {
        let api::ViewSnapshotRequest { key, parent, labels, .. } = request.into_inner();
        let mounts = self.0.prepare(New { kind: Kind::View, key, parent, labels, lease: None }).await?;
        Ok(Response::new(api::ViewSnapshotResponse { mounts }))
    }

    async fn mounts(
        &self,
        request: Request<api::MountsRequest>,
    ) -> Result<Response<api::MountsResponse>, Status> {
        let mounts = self.0.mounts(request.into_inner().key).await?;
        Ok(Response::new(api::MountsResponse { mounts }))
    }

    async fn commit(&self, request: Request<api::CommitSnapshotRequest>) -> Result<Response<()>, Status> {
        let request = request.into_inner();
        self.0.blocking(move |inner| inner.commit(request)).await.map(Response::new)
    }

    async fn remove(&self, request: Request<api::RemoveSnapshotRequest>) -> Result<Response<()>, Status> {
        let key = request.into_inner().key;
        self.0.blocking(move |inner| inner.remove(&key)).await.map(Response::new)
    }

    async fn stat(
        &self,
        request: Request<api::StatSnapshotRequest>,
    ) -> Result<Response<api::StatSnapshotResponse>, Status> {
        let lease = Lease::of(request.metadata());
        let api::StatSnapshotRequest { snapshotter, key } = request.into_inner();
        let info = self.0.stat(Look { snapshotter, key, lease }).await?;
        Ok(Response::new(api::StatSnapshotResponse { info: Some(info) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateSnapshotRequest>,
    ) -> Result<Response<api::UpdateSnapshotResponse>, Status> {
        let request = request.into_inner();
        let info = self.0.blocking(move |inner| inner.update(request)).await?;
        Ok(Response::new(api::UpdateSnapshotResponse { info: Some(info) }))
    }

    async fn list(
        &self,
        request: Request<api::ListSnapshotsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let pages = self.0.list(&request.into_inner().filters)?;
        Ok(Response::new(pages.boxed()))
    }

    async fn usage(
        &self,
        request: Request<api::UsageRequest>,
    ) -> Result<Response<api::UsageResponse>, Status> {
        let key = request.into_inner().key;
        let usage = self.0.blocking(move |inner| inner.usage(&key)).await?;
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(Response::new(api::UsageResponse { size: signed(usage.bytes), inodes: signed(usage.inodes) }))
    }

    async fn cleanup(&self, _: Request<api::CleanupRequest>) -> Result<Response<()>, Status> {
        self.0.cleanup().await.map(Response::new)
    }
}
