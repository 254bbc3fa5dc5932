//! What containerd's proxy does: one connection, and the calls.

use std::{collections::BTreeMap, path::Path};

use futures::TryStreamExt as _;
use peel_proto::{
    at_socket,
    containerd::{
        services::snapshots::v1::{self as api, snapshots_client::SnapshotsClient},
        types::Mount,
    },
};
use tonic::{Request, Status, transport::Channel};

/// Labels as the tests write them.
pub(crate) fn labels<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[derive(Clone)]
pub(crate) struct Client(SnapshotsClient<Channel>, Vec<(&'static str, &'static str)>);

type Answer<T> = Result<T, Status>;

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Result<Self, tonic::transport::Error> {
        let channel = at_socket(socket).connect().await?;
        Ok(Self(SnapshotsClient::new(channel).max_decoding_message_size(16 << 20), Vec::new()))
    }

    /// As the unpacker calls: Prepares and Stats carry the headers of its lease.
    pub(crate) fn under(&self, namespace: &'static str, lease: &'static str) -> Self {
        Self(self.0.clone(), vec![("containerd-namespace", namespace), ("containerd-lease", lease)])
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.1 {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    pub(crate) async fn prepare(&self, key: &str, parent: &str) -> Answer<Vec<Mount>> {
        self.prepare_with(key, parent, BTreeMap::new()).await
    }

    pub(crate) async fn prepare_with(
        &self,
        key: &str,
        parent: &str,
        labels: BTreeMap<String, String>,
    ) -> Answer<Vec<Mount>> {
        let (key, parent) = (key.to_owned(), parent.to_owned());
        let request = api::PrepareSnapshotRequest { snapshotter: "peel".to_owned(), key, parent, labels };
        Ok(self.0.clone().prepare(self.request(request)).await?.into_inner().mounts)
    }

    pub(crate) async fn view(&self, key: &str, parent: &str) -> Answer<Vec<Mount>> {
        self.view_with(key, parent, BTreeMap::new()).await
    }

    pub(crate) async fn view_with(
        &self,
        key: &str,
        parent: &str,
        labels: BTreeMap<String, String>,
    ) -> Answer<Vec<Mount>> {
        let (key, parent) = (key.to_owned(), parent.to_owned());
        let request = api::ViewSnapshotRequest { snapshotter: "peel".to_owned(), key, parent, labels };
        Ok(self.0.clone().view(request).await?.into_inner().mounts)
    }

    pub(crate) async fn mounts(&self, key: &str) -> Answer<Vec<Mount>> {
        let request = api::MountsRequest { key: key.to_owned(), ..Default::default() };
        Ok(self.0.clone().mounts(request).await?.into_inner().mounts)
    }

    pub(crate) async fn commit(&self, name: &str, key: &str) -> Answer<()> {
        self.commit_upon(name, key, "", BTreeMap::new()).await
    }

    pub(crate) async fn commit_upon(
        &self,
        name: &str,
        key: &str,
        parent: &str,
        labels: BTreeMap<String, String>,
    ) -> Answer<()> {
        let (name, key, parent) = (name.to_owned(), key.to_owned(), parent.to_owned());
        let request =
            api::CommitSnapshotRequest { snapshotter: "peel".to_owned(), name, key, labels, parent };
        self.0.clone().commit(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn remove(&self, key: &str) -> Answer<()> {
        let request = api::RemoveSnapshotRequest { key: key.to_owned(), ..Default::default() };
        self.0.clone().remove(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn stat(&self, key: &str) -> Answer<api::Info> {
        let request = api::StatSnapshotRequest { snapshotter: "peel".to_owned(), key: key.to_owned() };
        Ok(self.0.clone().stat(self.request(request)).await?.into_inner().info.unwrap())
    }

    /// Under the lease that this client has, or one of nobody's.
    pub(crate) async fn stat_leased(&self, key: &str) -> Answer<api::Info> {
        if self.1.is_empty() { self.under("nowhere", "lease").stat(key).await } else { self.stat(key).await }
    }

    pub(crate) async fn update(&self, info: api::Info, paths: &[&str]) -> Answer<api::Info> {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = api::UpdateSnapshotRequest { info: Some(info), update_mask, ..Default::default() };
        Ok(self.0.clone().update(request).await?.into_inner().info.unwrap())
    }

    /// The messages of a List.
    pub(crate) async fn pages(&self, filters: &[&str]) -> Answer<Vec<Vec<api::Info>>> {
        let stream = self.list_stream(filters).await?;
        stream.map_ok(|page| page.info).try_collect().await
    }

    pub(crate) async fn list_stream(
        &self,
        filters: &[&str],
    ) -> Answer<tonic::Streaming<api::ListSnapshotsResponse>> {
        let filters = filters.iter().map(|&filter| filter.to_owned()).collect();
        let request = api::ListSnapshotsRequest { filters, ..Default::default() };
        Ok(self.0.clone().list(request).await?.into_inner())
    }

    pub(crate) async fn list(&self, filters: &[&str]) -> Answer<Vec<api::Info>> {
        Ok(self.pages(filters).await?.into_iter().flatten().collect())
    }

    /// The names that a List shows, sorted.
    pub(crate) async fn names(&self, filters: &[&str]) -> Vec<String> {
        self.list(filters).await.unwrap().into_iter().map(|info| info.name).collect()
    }

    pub(crate) async fn usage(&self, key: &str) -> Answer<api::UsageResponse> {
        let request = api::UsageRequest { key: key.to_owned(), ..Default::default() };
        Ok(self.0.clone().usage(request).await?.into_inner())
    }

    pub(crate) async fn cleanup(&self) -> Answer<()> {
        self.0.clone().cleanup(api::CleanupRequest::default()).await.map(tonic::Response::into_inner)
    }

    /// A committed snapshot made of `write`.
    pub(crate) async fn layer(&self, name: &str, parent: &str, write: impl FnOnce(&Path)) {
        let key = format!("prepare {name}");
        let mounts = self.prepare(&key, parent).await.unwrap();
        write(super::Mounted::new(&mounts).path());
        self.commit(name, &key).await.unwrap();
    }
}
