//! The AlreadyExists protocol, with a stand-in for the layers: the service runs in this process.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use peel_snapshotter::{
    config,
    leases::Leases,
    metastore::{Metastore, RemoteSnapshot, SnapshotRecord},
    remote::{Decision, Extraction, RemoteLayers, Waiter},
    service::{SnapshotService, Socket, serve},
    snapshots::Directories,
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Code, Status};

use super::{Client, Mounted, client::labels};

/// What the stand-in answers, and what it was asked.
#[derive(Debug)]
pub(super) struct Double {
    ours: Mutex<bool>,
    /// `None` while the layers are not readable.
    pub(super) readable: watch::Sender<Option<Result<(), Status>>>,
    waiting: AtomicUsize,
    resolved: Mutex<Vec<String>>,
    removed: Mutex<Vec<String>>,
    layers: PathBuf,
}

#[tonic::async_trait]
impl RemoteLayers for Double {
    async fn decide(&self, extraction: &Extraction) -> Decision {
        if extraction.image_ref.contains("refused") {
            return Decision::Refuse(Status::failed_precondition("refused, and why"));
        }
        if !*self.ours.lock() {
            return Decision::Ordinary { reason: "test".to_owned() };
        }
        Decision::Ours(Box::new(RemoteSnapshot {
            chain_id: extraction.target.to_string(),
            layer_digest: extraction.layer_digest.to_string(),
            ..Default::default()
        }))
    }

    fn resolve(&self, snapshot: &SnapshotRecord) {
        self.resolved.lock().push(snapshot.key.clone());
    }

    async fn readable(&self, _: &SnapshotRecord, _: Waiter) -> Result<(), Status> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut readable = self.readable.subscribe();
        let answer = readable.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    async fn lowerdir(&self, snapshot: &SnapshotRecord) -> Result<PathBuf, Status> {
        let path = self.layers.join(snapshot.id.to_string());
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join(format!("from {}", snapshot.id)), "remote").unwrap();
        Ok(path)
    }

    fn removed(&self, snapshot: &SnapshotRecord) {
        self.removed.lock().push(snapshot.key.clone());
    }

    async fn cleanup(&self) {}
}

pub(super) struct Server {
    pub(super) double: Arc<Double>,
    pub(super) client: Client,
    task: JoinHandle<()>,
    directory: TempDir,
}

/// A service over a directory of its own; containerd is to be at `containerd.sock` in it.
pub(super) fn service() -> (SnapshotService, Arc<Double>, TempDir) {
    let directory = tempfile::Builder::new().prefix("peel-test-").tempdir_in("/var/tmp").unwrap();
    let double = Arc::new(Double {
        ours: Mutex::new(true),
        readable: watch::Sender::new(Some(Ok(()))),
        waiting: AtomicUsize::new(0),
        resolved: Mutex::default(),
        removed: Mutex::default(),
        layers: directory.path().join("layers"),
    });
    let metastore = Arc::new(Metastore::open(&directory.path().join("metadata.redb")).unwrap());
    let directories = Directories::open(directory.path()).unwrap();
    let address = directory.path().join("containerd.sock");
    let leases = Leases::new(&config::Containerd { address, ..<_>::default() });
    let service = SnapshotService::new(metastore, directories, Arc::clone(&double) as _, leases).unwrap();
    (service, double, directory)
}

impl Server {
    pub(super) async fn start() -> Self {
        let (service, double, directory) = service();
        let path = directory.path().join("sock");
        let socket = Socket::bind(&path).await.unwrap();
        let task = tokio::spawn(async move { serve(socket, service).await.unwrap() });
        let client = Client::connect(&path).await.unwrap();
        Self { double, client, task, directory }
    }

    /// Where it looks for containerd.
    pub(super) fn containerd(&self) -> PathBuf {
        self.directory.path().join("containerd.sock")
    }

    /// What the unpacker does for a layer: Prepare, and if that says "exists", the adoption. Gives back the
    /// adopted name.
    pub(super) async fn pull(&self, namespace: &str, layer: u8, parent: &str) -> Result<String, Status> {
        let refused = self.prepare(namespace, layer, parent, "r.example/app:1").await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused}");
        assert!(refused.message().contains(&target(layer)), "{refused}");
        let filter = format!("labels.\"containerd.io/snapshot.ref\"=={},parent=={parent:?}", target(layer));
        let found = self.client.list(&[&filter]).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].parent, parent);
        self.client.stat_leased(&found[0].name).await.map(|info| info.name)
    }

    async fn prepare(&self, namespace: &str, layer: u8, parent: &str, image: &str) -> Result<(), Status> {
        self.prepare_blob(namespace, layer, layer.wrapping_add(100), parent, image).await
    }

    async fn prepare_blob(
        &self,
        namespace: &str,
        layer: u8,
        blob: u8,
        parent: &str,
        image: &str,
    ) -> Result<(), Status> {
        let digest = digest(blob);
        let labels = labels([
            ("containerd.io/snapshot.ref", &target(layer)),
            ("containerd.io/snapshot/cri.image-ref", image),
            ("containerd.io/snapshot/cri.layer-digest", &digest),
            ("containerd.io/snapshot/cri.manifest-digest", &self::digest(200)),
            ("containerd.io/snapshot/cri.image-layers", &digest),
        ]);
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let key = format!("{namespace}/{number}/extract-{number} {}", target(layer));
        self.client.prepare_with(&key, parent, labels).await.map(drop)
    }

    /// Until `count` calls wait in the gate.
    async fn waiting(&self, count: usize) {
        while self.double.waiting.load(Ordering::SeqCst) != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server with one pull that waits in the gate, and the name of its snapshot.
async fn pull_in_the_gate() -> (Arc<Server>, JoinHandle<Result<String, Status>>, String) {
    let server = Arc::new(Server::start().await);
    server.double.readable.send_replace(None);
    let pull = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.pull("k8s.io", 1, "").await })
    };
    server.waiting(1).await;
    let name = server.client.names(&[]).await.remove(0);
    (server, pull, name)
}

fn digest(byte: u8) -> String {
    format!("sha256:{}", format!("{byte:02x}").repeat(32))
}

pub(super) fn target(layer: u8) -> String {
    digest(layer)
}

#[tokio::test]
async fn layers_are_adopted_and_shared() {
    let server = Server::start().await;
    let one = server.pull("k8s.io", 1, "").await.unwrap();
    let two = server.pull("k8s.io", 2, &one).await.unwrap();
    // Another namespace, and a retry: the same snapshots.
    assert_eq!(server.pull("default", 1, "").await.unwrap(), one);
    assert_eq!(server.pull("default", 2, &one).await.unwrap(), two);
    // The same layer upon another parent is another snapshot.
    let twice = server.pull("default", 2, &two).await.unwrap();
    assert_ne!(twice, two);
    assert_eq!(server.double.resolved.lock().iter().collect::<Vec<_>>(), [&one, &two, &one, &two, &twice]);

    let mounted = Mounted::new(&server.client.prepare("k8s.io/9/container", &two).await.unwrap());
    assert_eq!(std::fs::read_dir(mounted.path()).unwrap().count(), 2);
    std::fs::write(mounted.path().join("new"), "x").unwrap();
    let view = Mounted::new(&server.client.view("k8s.io/10/view", &one).await.unwrap());
    assert!(std::fs::write(view.path().join("new"), "x").is_err());
    assert_eq!(server.client.usage(&one).await.unwrap(), <_>::default());
}

#[tokio::test]
async fn mixed_chains_mount() {
    let server = Server::start().await;
    server.client.layer("base", "", |root| std::fs::write(root.join("ordinary below"), "x").unwrap()).await;
    let remote = server.pull("k8s.io", 1, "base").await.unwrap();
    server
        .client
        .layer("top", &remote, |root| std::fs::write(root.join("ordinary above"), "x").unwrap())
        .await;
    let mounted = Mounted::new(&server.client.prepare("container", "top").await.unwrap());
    assert_eq!(std::fs::read_dir(mounted.path()).unwrap().count(), 3);
    // From the top down.
    assert_eq!(server.client.remove(&remote).await.unwrap_err().code(), Code::FailedPrecondition);
    for name in ["container", "top", &remote, "base"] {
        server.client.remove(name).await.unwrap();
    }
    assert_eq!(*server.double.removed.lock(), [remote]);
    assert_eq!(std::fs::read_dir(server.directory.path().join("snapshots")).unwrap().count(), 0);
}

#[tokio::test]
async fn another_blob_of_the_same_chain_is_left_to_containerd() {
    let server = Server::start().await;
    let name = server.pull("one", 1, "").await.unwrap();
    server.prepare_blob("two", 1, 99, "", "r.example/other:1").await.expect("containerd unpacks it");
    assert_eq!(*server.double.resolved.lock(), std::slice::from_ref(&name));
    let same = server.prepare("two", 1, "", "r.example/app:1").await.unwrap_err();
    assert_eq!(same.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn ordinary_and_refused_images() {
    let server = Server::start().await;
    let refused = server.prepare("k8s.io", 1, "", "r.example/refused:1").await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "refused, and why"));
    *server.double.ours.lock() = false;
    server.prepare("k8s.io", 1, "", "r.example/app:1").await.unwrap();
    assert_eq!(server.client.list(&["kind==committed"]).await.unwrap(), []);
    // A parent that is not there, or not committed, is refused before anybody decides.
    *server.double.ours.lock() = true;
    let answer = server.prepare("k8s.io", 1, "nothing", "r.example/app:1").await.unwrap_err();
    assert_eq!(answer.code(), Code::NotFound);
    let active = server.client.names(&["kind==active"]).await.remove(0);
    let answer = server.prepare("k8s.io", 1, &active, "r.example/app:1").await.unwrap_err();
    assert_eq!(answer.code(), Code::InvalidArgument);
    assert!(server.double.resolved.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_prepares_of_one_target() {
    let server = Arc::new(Server::start().await);
    let pulls = (0..40).map(|number| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.pull(&format!("ns{}", number % 3), 1, "").await.unwrap() })
    });
    let names: Vec<_> = futures::future::join_all(pulls).await.into_iter().map(Result::unwrap).collect();
    assert!(names.iter().all(|name| *name == names[0]));
    assert_eq!(server.client.list(&[]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leased_stat_and_mounts_wait() {
    let (server, pull, name) = pull_in_the_gate().await;
    // While the gate is held, all else goes on, upon the same layer, too.
    server.client.stat(&name).await.unwrap();
    server.client.usage(&name).await.unwrap();
    server.client.layer("other", "", |_| {}).await;
    server.client.remove("other").await.unwrap();
    server.client.cleanup().await.unwrap();
    server.prepare("k8s.io", 2, &name, "r.example/app:1").await.unwrap_err();
    server.client.prepare("container", &name).await.unwrap();
    let mounts = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.client.mounts("container").await })
    };
    server.waiting(2).await;
    assert!(!pull.is_finished() && !mounts.is_finished());
    server.double.readable.send_replace(Some(Ok(())));
    assert_eq!(pull.await.unwrap().unwrap(), name);
    assert_eq!(mounts.await.unwrap().unwrap(), server.client.mounts("container").await.unwrap());
}

#[tokio::test]
async fn a_failed_layer_fails_the_pull_with_its_reason() {
    let server = Server::start().await;
    let reason = Status::unauthenticated("image r.example/app:1: the registry wants a password");
    server.double.readable.send_replace(Some(Err(reason)));
    let failed = server.pull("k8s.io", 1, "").await.unwrap_err();
    assert_eq!(failed.code(), Code::Unauthenticated);
    assert!(failed.message().contains("wants a password"));
    let name = server.client.names(&[]).await.remove(0);
    server.client.stat(&name).await.expect("a poll must not fail");
    server.client.prepare("container", &name).await.unwrap();
    assert_eq!(server.client.mounts("container").await.unwrap_err().code(), Code::Unauthenticated);
    // The retry asks for it again, and starts the work again.
    server.double.readable.send_replace(Some(Ok(())));
    assert_eq!(server.pull("k8s.io", 1, "").await.unwrap(), name);
    assert_eq!(server.double.resolved.lock().len(), 2);
}

/// containerd's GC takes what a failed pull left while the next one already looks at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_removed_in_the_gate_is_not_there() {
    for outcome in [Ok(()), Err(Status::failed_precondition("its parent is gone"))] {
        let (server, pull, name) = pull_in_the_gate().await;
        server.client.remove(&name).await.unwrap();
        // The next pull has prepared it again: it is a snapshot of its own.
        server.prepare("k8s.io", 1, "", "r.example/app:1").await.unwrap_err();
        server.double.readable.send_replace(Some(outcome));
        assert_eq!(pull.await.unwrap().unwrap_err().code(), Code::NotFound);
        server.client.stat(&name).await.unwrap();
    }
}
