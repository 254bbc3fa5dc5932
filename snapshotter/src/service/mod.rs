//! The Snapshots service: containerd's rules (contract §1 and §2), on top of the metastore, the snapshots'
//! directories, and the layers that Peel serves.
//!
//! Who may wait for what: Prepare, View, Commit, Update and Remove wait for this node's disk only, since
//! containerd holds locks or its own write transaction around them (contract §5.3). A Stat under a lease and
//! Mounts may wait for layers, with nothing held. List, Usage and other Stats never wait. All that touches the
//! disk runs off the runtime's threads.

mod change;
mod convert;
mod extraction;
mod look;
mod prepare;
mod rpc;
mod server;
mod status;

use std::{collections::HashSet, sync::Arc};

use tonic::Status;

use crate::{
    idmap::IdmappedLayers,
    leases::Leases,
    metastore::{Metastore, SnapshotId},
    remote::RemoteLayers,
    snapshots::{Directories, OverlayOptions},
};

pub use server::{Socket, serve, serve_control};
pub use status::ServiceError;

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SnapshotService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metastore: Arc<Metastore>,
    directories: Directories,
    overlay: OverlayOptions,
    idmapped: IdmappedLayers,
    layers: Arc<dyn RemoteLayers>,
    leases: Leases,
    /// Wakes the task that empties the trash.
    removed: tokio::sync::Notify,
}

impl SnapshotService {
    /// A service over what is stored. Directories that no snapshot has go to the trash, and the work on lazy
    /// layers that are not readable yet starts again; neither is waited for.
    ///
    /// # Errors
    /// The metadata or the directories cannot be read.
    pub fn new(
        metastore: Arc<Metastore>,
        directories: Directories,
        layers: Arc<dyn RemoteLayers>,
        leases: Leases,
    ) -> Result<Self, ServiceError> {
        let mut known: HashSet<SnapshotId> = HashSet::new();
        metastore.snapshot()?.each_snapshot(|snapshot| {
            if snapshot.remote.is_some() {
                layers.resolve(&snapshot);
            } else {
                known.insert(snapshot.id);
            }
        })?;
        directories.sweep(&known).map_err(|error| ServiceError::Disk("cannot sweep the snapshots", error))?;
        let idmapped = IdmappedLayers::open(directories.root())
            .map_err(|error| ServiceError::Disk("cannot use the idmapped layers", error))?;
        let (overlay, removed) = (OverlayOptions::probe(), tokio::sync::Notify::new());
        removed.notify_one();
        let inner = Arc::new(Inner { metastore, directories, overlay, idmapped, layers, leases, removed });
        tokio::spawn(reap_for_ever(Arc::clone(&inner)));
        Ok(Self(inner))
    }
}

/// Empties the trash whenever something was removed: containerd's GC calls Cleanup after its removals, but not
/// when one of them failed, and other clients need not call it at all.
async fn reap_for_ever(inner: Arc<Inner>) {
    loop {
        inner.removed.notified().await;
        if let Err(status) = inner.blocking(Inner::reap).await {
            tracing::warn!(reason = status.message(), "the trash cannot be emptied");
        }
    }
}

impl Inner {
    /// Runs `work` where it may block. Once started it runs to its end, also when the caller goes away.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, Status> {
        let inner = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(done) => done.map_err(Status::from),
            Err(panic) => Err(Status::internal(format!("peel: {panic}"))),
        }
    }

    fn reap(&self) -> Result<(), ServiceError> {
        self.directories.reap().map_err(|error| ServiceError::Disk("cannot empty the trash", error))
    }
}
