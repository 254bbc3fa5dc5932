//! containerd's leases: what keeps its GC off a snapshot that a pull found.
//!
//! A pull runs under a lease, and what Prepare makes or finds is leased in the same transaction. But 1.6's unpacker
//! Stats before it prepares, and what that finds it takes without leasing it (v1.6.20:unpacker.go:144). What a failed
//! pull left belongs to nobody, and GC takes it when its time comes: seconds later, in the middle of the next pull,
//! which found it. Then the image is there and its snapshots are not. On overlayfs containerd would unpack once more
//! at the next CreateContainer; here the blobs were never fetched, and the pod is stuck until somebody pulls.
//!
//! So a leased Stat of a committed snapshot that was not prepared under that lease puts it under the lease, and then
//! asks whether containerd still has it: its GC forgets first and calls Remove later. That goes for layers that
//! containerd unpacked, too: the next pull stands on them, and fails where they go. Where containerd does not answer,
//! the pull goes on as it would have.

use std::{num::NonZeroUsize, time::Duration};

use lru::LruCache;
use parking_lot::Mutex;
use peel_proto::{
    at_socket,
    containerd::services::{
        leases::v1::{AddResourceRequest, Resource, leases_client::LeasesClient},
        snapshots::v1::{StatSnapshotRequest, snapshots_client::SnapshotsClient},
    },
};
use tonic::{Code, Status, metadata::MetadataMap, transport::Channel};

use crate::{config, metastore::SnapshotId, namespace};

/// Header of calls that are made under a lease: all of a pull's, none of containerd's polls and GC.
const LEASE: &str = "containerd-lease";

/// Prepared snapshots whose lease is remembered; a forgotten one costs two calls.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// The lease that a call was made under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    id: String,
    /// Debian's 1.6.20 does not send it for calls that came to itself by gRPC (contract §1.2).
    namespace: Option<String>,
}

impl Lease {
    /// From the headers of a call.
    #[must_use]
    pub fn of(headers: &MetadataMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Some(Self { id: text(LEASE)?, namespace: text(namespace::HEADER) })
    }
}

/// A snapshot as containerd's clients name it.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    /// The name that containerd gave Peel.
    pub snapshotter: &'a str,
    /// containerd's key: for a layer its chain id.
    pub key: &'a str,
}

/// Whether containerd has what a pull found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It has, or does not say.
    Held,
    /// Its GC has forgotten it already; Remove follows.
    Gone,
}

/// See the module's header.
#[derive(Debug)]
pub struct Leases {
    leases: LeasesClient<Channel>,
    snapshots: SnapshotsClient<Channel>,
    timeout: Duration,
    prepared: Mutex<LruCache<SnapshotId, Lease>>,
}

impl Leases {
    /// Connects at the first use, not now.
    #[must_use]
    pub fn new(config: &config::Containerd) -> Self {
        let channel = at_socket(&config.address).connect_lazy();
        Self {
            leases: LeasesClient::new(channel.clone()),
            snapshots: SnapshotsClient::new(channel),
            timeout: config.timeout,
            prepared: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// `snapshot` was prepared under `lease`: containerd leases it itself.
    pub fn prepared(&self, snapshot: SnapshotId, lease: Lease) {
        self.prepared.lock().put(snapshot, lease);
    }

    /// Puts a snapshot that was found under `lease`, for at most containerd's time-out.
    pub async fn claim(&self, lease: &Lease, snapshot: SnapshotId, named: Named<'_>) -> Claim {
        if self.prepared.lock().get(&snapshot) == Some(lease) {
            return Claim::Held;
        }
        let asked = tokio::time::timeout(self.timeout, self.ask(lease, &named)).await;
        asked.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))).unwrap_or_else(
            |error| {
                tracing::warn!(
                    key = named.key,
                    reason = error.message(),
                    "containerd's GC may take what a pull found"
                );
                Claim::Held
            },
        )
    }

    async fn ask(&self, lease: &Lease, named: &Named<'_>) -> Result<Claim, Status> {
        let Some(namespace) = &lease.namespace else {
            return Err(Status::invalid_argument("the call names no namespace"));
        };
        let resource =
            Resource { id: named.key.to_owned(), r#type: format!("snapshots/{}", named.snapshotter) };
        let message = AddResourceRequest { id: lease.id.clone(), resource: Some(resource) };
        self.leases.clone().add_resource(namespace::request(namespace, message)).await?;
        // Without a lease: this comes back to Peel, where it must not wait.
        let message =
            StatSnapshotRequest { snapshotter: named.snapshotter.to_owned(), key: named.key.to_owned() };
        match self.snapshots.clone().stat(namespace::request(namespace, message)).await {
            Ok(_) => Ok(Claim::Held),
            Err(status) if status.code() == Code::NotFound => Ok(Claim::Gone),
            Err(status) => Err(status),
        }
    }
}
