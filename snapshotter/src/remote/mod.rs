//! The seam between the Snapshots service and the layers that Peel serves.
//!
//! The service knows containerd's rules: keys, parents, the AlreadyExists protocol, who waits where. What a
//! layer is, whether it can be served and when it is readable is known behind [`RemoteLayers`]. Nothing here
//! is called with a lock held.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use peel_layer::{ChainId, LayerDigest, ManifestDigest};
use tonic::Status;

use crate::metastore::{RemoteSnapshot, SnapshotRecord};

/// A Prepare by which containerd's unpacker asks whether a layer is there already.
///
/// Built only for keys of extractions with `snapshot.ref` and all four well-formed `cri.*` labels: a pod's
/// annotations can bring those labels, but not that key (contract §2.3). The values are still only claims.
#[derive(Debug, Clone)]
pub struct Extraction {
    /// containerd's namespace: the first part of the key.
    pub namespace: String,
    /// The key of the Prepare.
    pub key: String,
    /// Chain id that the layer shall have.
    pub target: ChainId,
    /// The snapshot below; committed. `None` for an image's first layer.
    pub parent: Option<SnapshotRecord>,
    /// The image's reference, as the client normalised it.
    pub image_ref: String,
    /// Of the image's manifest.
    pub manifest_digest: ManifestDigest,
    /// Of the layer's blob.
    pub layer_digest: LayerDigest,
    /// All labels of the request. Hostile: layer annotations of the image come with them.
    pub labels: BTreeMap<String, String>,
    /// What an earlier Prepare of the same target and parent committed.
    pub existing: Option<SnapshotRecord>,
}

/// Whose a layer is.
#[derive(Debug)]
pub enum Decision {
    /// containerd downloads and unpacks it.
    Ordinary {
        /// Why, for the log.
        reason: String,
    },
    /// Peel serves it. What to record; ignored where [`Extraction::existing`] is set.
    Ours(Box<RemoteSnapshot>),
    /// The image must not be pulled at all.
    Refuse(Status),
}

/// Who waits for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiter {
    /// A Stat under a lease: the pull.
    Stat,
    /// Mounts of a snapshot above the layer.
    Mounts,
}

/// The layers that Peel serves.
#[tonic::async_trait]
pub trait RemoteLayers: fmt::Debug + Send + Sync + 'static {
    /// Whose the layer is. Local and bounded: containerd may hold up other Prepares meanwhile.
    async fn decide(&self, extraction: &Extraction) -> Decision;

    /// Starts, or starts again after a failure, what makes the layer readable. Returns at once. The record is
    /// durable already. Also called for every remote snapshot at the daemon's start.
    fn resolve(&self, snapshot: &SnapshotRecord);

    /// Waits, for a bounded time, until the layer's tree is readable; fails with the text that a user shall read
    /// (never `NotFound` or `AlreadyExists`: containerd retries those silently).
    async fn readable(&self, snapshot: &SnapshotRecord, waiter: Waiter) -> Result<(), Status>;

    /// Where the layer's tree is, or will be, on this node: cheap, and the same after a restart.
    async fn lowerdir(&self, snapshot: &SnapshotRecord) -> Result<PathBuf, Status>;

    /// The snapshot was removed; durable already. Must be quick: containerd holds its lock.
    fn removed(&self, snapshot: &SnapshotRecord);

    /// Gives back what removed snapshots left behind. May be slow.
    async fn cleanup(&self);
}
