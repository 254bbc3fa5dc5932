//! Prepare and View: a new snapshot, or "exists already" for a layer that Peel serves.

use std::{path::PathBuf, sync::Arc};

use peel_cache::DiskUsage;
use peel_layer::failpoint;
use peel_proto::containerd::types::Mount;
use tonic::Status;

use super::{
    Inner, ServiceError,
    convert::{check_key, check_labels},
    extraction::{TARGET, recognise, remote_name},
};
use crate::{
    idmap::IdMapping,
    leases::Lease,
    metastore::{Kind, Labels, MetastoreError, RemoteSnapshot, SnapshotId, SnapshotRecord, Timestamp},
    remote::{Decision, Extraction},
    snapshots::{Owner, mount},
};

/// Bytes that must be available for a new snapshot: its directories, and what an index or a container writes first.
const ROOM: u64 = 1 << 20;

/// Lower directories that overlayfs takes (fs/overlayfs/params.h, `OVL_MAX_STACK`).
const MOST_LAYERS: usize = 500;

/// What a client asks for.
pub(super) struct New {
    pub(super) kind: Kind,
    pub(super) key: String,
    /// Empty for none.
    pub(super) parent: String,
    pub(super) labels: Labels,
    /// That it is made under.
    pub(super) lease: Option<Lease>,
}

impl Inner {
    /// Makes the snapshot and says how to mount it.
    pub(super) async fn prepare(self: &Arc<Self>, new: New) -> Result<Vec<Mount>, Status> {
        check_key(&new.key)?;
        let New { kind, key, parent, labels, lease } = new;
        let labels = check_labels(labels)?;
        let parent = (!parent.is_empty()).then_some(parent);
        let looked_up = key.clone();
        let ground = move |inner: &Self| {
            let ground = inner.ground(&looked_up, parent.as_deref())?;
            inner.check_room()?;
            Ok(ground)
        };
        let ancestors = self.blocking(ground).await?;
        if kind == Kind::Active
            && let Some(extraction) = recognise(&key, ancestors.first(), &labels)
        {
            self.provide(extraction, lease).await?;
        }
        if ancestors.len() > MOST_LAYERS {
            let (layers, most) = (ancestors.len(), MOST_LAYERS);
            return Err(ServiceError::TooManyLayers { key, layers, most }.into());
        }
        let lower = self.lowerdirs(&ancestors).await?;
        let now = Timestamp::now();
        let parent = ancestors.first().map(|parent| parent.key.clone());
        let id = self.metastore.allocate_id();
        let (created, updated, usage, remote) = (now, now, None, None);
        let record = SnapshotRecord { key, id, parent, kind, created, updated, labels, usage, remote };
        self.blocking(move |inner| inner.create(&record, &ancestors, &lower)).await
    }

    /// What is made now must also be written to: said here, and not by whatever fails first.
    fn check_room(&self) -> Result<(), ServiceError> {
        let root = self.directories.root();
        let disk =
            DiskUsage::of(root).map_err(|error| ServiceError::Disk("cannot look at the disk", error))?;
        if disk.available < ROOM {
            return Err(ServiceError::DiskFull { root: root.to_owned(), disk });
        }
        Ok(())
    }

    /// The snapshots that a new one under `key` would stand upon, nearest first.
    fn ground(&self, key: &str, parent: Option<&str>) -> Result<Vec<SnapshotRecord>, ServiceError> {
        self.metastore.read(|tx| {
            if tx.find_snapshot(key)?.is_some() {
                return Err(MetastoreError::Exists(key.to_owned()).into());
            }
            let Some(parent) = parent else { return Ok(Vec::new()) };
            let parent = tx.parent(parent)?;
            let above = tx.ancestors(&parent)?;
            Ok(std::iter::once(parent).chain(above).collect())
        })
    }

    /// Directories first, then the record: what a crash leaves in between is swept at the next start.
    fn create(
        &self,
        record: &SnapshotRecord,
        ancestors: &[SnapshotRecord],
        lower: &[PathBuf],
    ) -> Result<Vec<Mount>, ServiceError> {
        // Roots of layers that Peel serves have no owner of their own: an unpacked layer's root belongs to the
        // owner of the root below it, and at the bottom to root.
        let ordinary = ancestors.iter().find(|ancestor| ancestor.remote.is_none());
        let owner = match idmapping(record)? {
            Some(mapping) => {
                let (uid, gid) = mapping.root();
                Owner::Ids(uid, gid)
            }
            None => ordinary.map_or(Owner::Root, |ancestor| Owner::Like(self.directories.fs(ancestor.id))),
        };
        self.directories
            .create(record.id, record.kind, &owner)
            .map_err(|error| ServiceError::Disk("cannot make the snapshot's directories", error))?;
        failpoint::reach(|| "prepare: directories made");
        if let Err(error) = self.metastore.write(|tx| tx.insert_snapshot(record)) {
            self.directories.withdraw(record.id);
            return Err(error.into());
        }
        failpoint::reach(|| "prepare: stored");
        // The clones of a pod in a user namespace are made by Mounts, which containerd calls before it mounts.
        Ok(vec![mount(&self.directories, &self.overlay, record.kind, record.id, lower)])
    }

    /// Answers an unpacker: the error `TargetExists` if Peel serves the layer, nothing if containerd shall.
    async fn provide(
        self: &Arc<Self>,
        mut extraction: Extraction,
        lease: Option<Lease>,
    ) -> Result<(), Status> {
        let name =
            remote_name(extraction.parent.as_ref().map(|parent| parent.key.as_str()), &extraction.target);
        let looked_up = name.clone();
        extraction.existing =
            self.blocking(move |inner| Ok(inner.metastore.read(|tx| tx.find_snapshot(&looked_up))?)).await?;
        match self.layers.decide(&extraction).await {
            Decision::Ordinary { reason } => {
                tracing::info!(
                    image = extraction.image_ref,
                    layer = %extraction.layer_digest,
                    reason,
                    "layer is left to containerd"
                );
                Ok(())
            }
            Decision::Refuse(status) => Err(status),
            Decision::Ours(remote) => {
                let (target, layer, image) =
                    (extraction.target, extraction.layer_digest, extraction.image_ref.clone());
                let adopted = self.blocking(move |inner| inner.adopt(name, extraction, *remote)).await?;
                if let Some(snapshot) = adopted {
                    if let Some(lease) = lease {
                        self.leases.prepared(snapshot, lease);
                    }
                    return Err(ServiceError::TargetExists(target).into());
                }
                tracing::warn!(image, %layer, %target, "chain is there with another blob; containerd unpacks this one");
                Ok(())
            }
        }
    }

    /// Stores the layer as a committed snapshot, unless another Prepare was first, and starts the work on it.
    ///
    /// Nothing if another blob has this chain already, in some namespace. Its diff id is only claimed, so it may not
    /// stand in for this blob; containerd unpacks this one, checks its diff id, and keeps it under a name of its own.
    fn adopt(
        &self,
        name: String,
        extraction: Extraction,
        remote: RemoteSnapshot,
    ) -> Result<Option<SnapshotId>, ServiceError> {
        let blob = remote.layer_digest.clone();
        let now = Timestamp::now();
        let record = SnapshotRecord {
            key: name,
            id: self.metastore.allocate_id(),
            parent: extraction.parent.map(|parent| parent.key),
            kind: Kind::Committed,
            created: now,
            updated: now,
            labels: extraction.labels,
            usage: None,
            remote: Some(remote),
        };
        let record = loop {
            match self.metastore.write(|tx| tx.insert_snapshot(&record)) {
                Ok(()) => break record,
                Err(MetastoreError::Exists(key)) => {
                    // Nothing if it was removed just now.
                    if let Some(first) = self.metastore.read(|tx| tx.find_snapshot(&key))? {
                        break first;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        let same = record.remote.as_ref().is_some_and(|first| first.layer_digest == blob);
        failpoint::reach(|| "adopt: stored");
        if same {
            self.layers.resolve(&record);
        }
        Ok(same.then_some(record.id))
    }
}

/// The mapping of a container in a user namespace. An image's author can bring these labels too, but only to the
/// Prepare of an extraction, which has `snapshot.ref` (contract §2.3).
pub(super) fn idmapping(record: &SnapshotRecord) -> Result<Option<IdMapping>, ServiceError> {
    if record.kind != Kind::Active || record.labels.contains_key(TARGET) {
        return Ok(None);
    }
    IdMapping::of_labels(&record.labels).map_err(|error| ServiceError::Invalid(error.to_string()))
}
