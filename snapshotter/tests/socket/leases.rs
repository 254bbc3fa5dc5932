//! What a pull finds is put under its lease, with a stand-in for containerd.

use std::{path::Path, sync::Arc};

use parking_lot::Mutex;
use peel_proto::containerd::services::{
    leases::v1::{
        AddResourceRequest,
        leases_server::{Leases, LeasesServer},
    },
    snapshots::v1::snapshots_server::SnapshotsServer,
};
use tokio::{net::UnixListener, task::JoinHandle};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Request, Response, Status, transport};

use super::{
    Client,
    remote::{Server, service, target},
};

/// Namespace, lease, type and key of what was put under a lease.
type Claimed = [String; 4];

#[derive(Debug, Default)]
struct Double {
    claimed: Mutex<Vec<Claimed>>,
}

#[tonic::async_trait]
impl Leases for Double {
    async fn add_resource(&self, request: Request<AddResourceRequest>) -> Result<Response<()>, Status> {
        let namespace = request.metadata().get("containerd-namespace").unwrap().to_str().unwrap().to_owned();
        assert!(request.metadata().get("containerd-lease").is_none());
        let AddResourceRequest { id, resource } = request.into_inner();
        if id == "ended" {
            return Err(Status::not_found("lease \"ended\": not found"));
        }
        let resource = resource.unwrap();
        self.claimed.lock().push([namespace, id, resource.r#type, resource.id]);
        Ok(Response::new(()))
    }
}

/// A containerd that has leases and, under its own names, snapshots.
struct Containerd {
    double: Arc<Double>,
    client: Client,
    task: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Containerd {
    async fn start(socket: &Path) -> Self {
        let (service, _, directory) = service();
        let double = Arc::new(Double::default());
        let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
        let server = transport::Server::builder()
            .add_service(LeasesServer::from_arc(Arc::clone(&double)))
            .add_service(SnapshotsServer::new(service))
            .serve_with_incoming(incoming);
        let task = tokio::spawn(async move { server.await.unwrap() });
        let client = Client::connect(socket).await.unwrap();
        Self { double, client, task, _directory: directory }
    }

    /// Takes note of the layer, as after its Prepare.
    async fn knows(&self, layer: u8) {
        self.client.layer(&target(layer), "", |_| {}).await;
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Peel and a containerd; a pull under the lease `first` has adopted layer 1 under the name that is given back.
async fn pulled() -> (Server, Containerd, String) {
    let mut server = Server::start().await;
    let containerd = Containerd::start(&server.containerd()).await;
    server.client = server.client.under("k8s.io", "first");
    let name = server.pull("k8s.io", 1, "").await.unwrap();
    containerd.knows(1).await;
    (server, containerd, name)
}

#[tokio::test]
async fn only_what_was_found_is_claimed() {
    let (server, containerd, name) = pulled().await;
    server.client.stat(&name).await.unwrap();
    assert_eq!(*containerd.double.claimed.lock(), Vec::<Claimed>::new(), "containerd leased it itself");

    server.client.under("k8s.io", "second").stat(&name).await.unwrap();
    let claimed = ["k8s.io", "second", "snapshots/peel", &target(1)].map(str::to_owned);
    assert_eq!(*containerd.double.claimed.lock(), std::slice::from_ref(&claimed));
    // A lease of the same name in another namespace is another lease.
    server.client.under("default", "first").stat(&name).await.unwrap();
    assert_eq!(containerd.double.claimed.lock().len(), 2);
    // Prepared once more: containerd has leased it.
    let mut server = server;
    server.client = server.client.under("k8s.io", "third");
    server.pull("k8s.io", 1, "").await.unwrap();
    assert_eq!(containerd.double.claimed.lock().len(), 2);
}

/// A layer that containerd unpacked: its failed pull left it, too, and the next would stand on it.
#[tokio::test]
async fn ordinary_layers_are_claimed_too() {
    let (server, containerd, _) = pulled().await;
    containerd.knows(2).await;
    let name = format!("k8s.io/7/{}", target(2));
    server.client.layer(&name, "", |_| {}).await;
    server.client.under("k8s.io", "second").stat(&name).await.unwrap();
    assert_eq!(containerd.double.claimed.lock().len(), 1);
    containerd.client.remove(&target(2)).await.unwrap();
    let gone = server.client.under("k8s.io", "second").stat(&name).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone}");
}

/// containerd's GC forgets at once and removes later: the pull has to prepare it again, and does not wait before.
#[tokio::test]
async fn what_containerd_forgot_is_not_there() {
    let (server, containerd, name) = pulled().await;
    containerd.client.remove(&target(1)).await.unwrap();
    server.double.readable.send_replace(None);
    let gone = server.client.under("k8s.io", "second").stat(&name).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone}");
}

#[tokio::test]
async fn a_pull_goes_on_when_nothing_can_be_claimed() {
    let (server, containerd, name) = pulled().await;
    server.client.under("k8s.io", "ended").stat(&name).await.unwrap();
    drop(containerd);
    server.client.under("k8s.io", "second").stat(&name).await.unwrap();
}
