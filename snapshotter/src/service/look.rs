//! Stat, Mounts, List, Usage: what is there, and who waits until it can be used.

use std::{path::PathBuf, sync::Arc};

use futures::{Stream, future::try_join_all, stream};
use peel_layer::failpoint;
use peel_proto::containerd::{services::snapshots::v1 as api, types::Mount};
use tonic::Status;

use super::{Inner, ServiceError, convert::info, extraction::chain_of, prepare::idmapping};
use crate::{
    filter::{Fields, Filters},
    generations,
    leases::{Claim, Lease, Named},
    metastore::{Kind, MetastoreError, ReadTx, SnapshotRecord, Usage},
    remote::Waiter,
    snapshots::{disk_usage, mount},
};

/// Snapshots in one message of a List, as containerd's own service has it (contract §1.1).
pub(super) const PAGE: usize = 100;

/// What every snapshot that Peel serves takes on disk by itself: nothing. Its bytes are the cache's, which other
/// snapshots share and which is not the image's to give back.
const REMOTE_USAGE: Usage = Usage { bytes: 0, inodes: 0 };

/// A Stat.
pub(super) struct Look {
    /// The name that containerd has for Peel.
    pub(super) snapshotter: String,
    pub(super) key: String,
    /// That it is made under.
    pub(super) lease: Option<Lease>,
}

impl Inner {
    /// What is known of a snapshot. Under a lease this is the unpacker, which adopts the layer when it gets its
    /// answer: the pull's one place to wait.
    pub(super) async fn stat(self: &Arc<Self>, look: Look) -> Result<api::Info, Status> {
        let Look { snapshotter, key, lease } = look;
        let record = self.record(key.clone()).await?;
        let (Some(lease), Kind::Committed) = (lease, record.kind) else {
            return Ok(info(record));
        };
        let gone = || Err(ServiceError::from(MetastoreError::NotFound(key.clone())).into());
        // Before the wait, in which GC would have all the time.
        if let Some(chain) = chain_of(&record) {
            let named = Named { snapshotter: &snapshotter, key: chain };
            if self.leases.claim(&lease, record.id, named).await == Claim::Gone {
                return gone();
            }
        }
        if record.remote.is_none() {
            return Ok(info(record));
        }
        let waited = self.layers.readable(&record, Waiter::Stat).await;
        // Where it could not be claimed, containerd's GC may have taken what a failed pull left. Whatever the wait
        // came to then, the truth is that the snapshot is not there: it gets prepared again.
        let now = self.record(key.clone()).await?;
        if now.id != record.id {
            return gone();
        }
        waited?;
        Ok(info(now))
    }

    async fn record(self: &Arc<Self>, key: String) -> Result<SnapshotRecord, Status> {
        self.blocking(move |inner| Ok(inner.metastore.read(|tx| tx.snapshot(&key))?)).await
    }

    /// How to mount an active snapshot or a view, once everything below it is readable.
    pub(super) async fn mounts(self: &Arc<Self>, key: String) -> Result<Vec<Mount>, Status> {
        let (record, ancestors) = self
            .blocking(move |inner| {
                inner.metastore.read(|tx| {
                    let record = tx.snapshot(&key)?;
                    if record.kind == Kind::Committed {
                        let wanted = "active or a view";
                        return Err(MetastoreError::WrongKind { key, kind: record.kind, wanted }.into());
                    }
                    let ancestors = tx.ancestors(&record)?;
                    Ok((record, ancestors))
                })
            })
            .await?;
        let remote = ancestors.iter().filter(|ancestor| ancestor.remote.is_some());
        try_join_all(remote.map(|ancestor| self.layers.readable(ancestor, Waiter::Mounts))).await?;
        let mut lower = self.lowerdirs(&ancestors).await?;
        if record.kind == Kind::Active {
            let (root, below) = (self.directories.root().to_owned(), lower.clone());
            self.blocking(move |_| {
                generations::note(&root, record.id, &below)
                    .map_err(|error| ServiceError::Disk("cannot note what the snapshot stands on", error))
            })
            .await?;
        }
        failpoint::reach(|| "mounts: made");
        if let Some(mapping) = idmapping(&record)? {
            let clone = move |inner: &Self| inner.idmapped.clones(record.id, &mapping, &lower);
            lower = self
                .blocking(move |inner| {
                    clone(inner).map_err(|error| ServiceError::Disk("cannot shift the layers' ids", error))
                })
                .await?;
        }
        Ok(vec![mount(&self.directories, &self.overlay, record.kind, record.id, &lower)])
    }

    /// The trees of `ancestors`, in their order.
    pub(super) async fn lowerdirs(&self, ancestors: &[SnapshotRecord]) -> Result<Vec<PathBuf>, Status> {
        let mut lower = Vec::with_capacity(ancestors.len());
        for ancestor in ancestors {
            lower.push(match ancestor.remote {
                Some(_) => self.layers.lowerdir(ancestor).await?,
                None => self.directories.fs(ancestor.id),
            });
        }
        Ok(lower)
    }

    /// All snapshots that pass, as they are now, page by page. Nothing is locked while the client takes them.
    pub(super) fn list(
        self: &Arc<Self>,
        filters: &[String],
    ) -> Result<impl Stream<Item = Result<api::ListSnapshotsResponse, Status>> + use<>, ServiceError> {
        let filters = Arc::new(Filters::parse(filters)?);
        let start = Some(Cursor { tx: self.metastore.snapshot()?, after: None });
        let inner = Arc::clone(self);
        Ok(stream::try_unfold(start, move |cursor| {
            let (inner, filters) = (Arc::clone(&inner), Arc::clone(&filters));
            async move {
                let Some(mut cursor) = cursor else { return Ok(None) };
                let (page, cursor) = inner
                    .blocking(move |_| {
                        let page = cursor.page(&filters)?;
                        Ok((page, cursor))
                    })
                    .await?;
                let more = page.len() >= PAGE;
                let info = page.into_iter().map(info).collect::<Vec<_>>();
                let empty = info.is_empty();
                Ok((!empty).then(|| (api::ListSnapshotsResponse { info }, more.then_some(cursor))))
            }
        }))
    }

    /// A snapshot's own usage, without its parents'. containerd asks for every active snapshot every ten seconds.
    pub(super) fn usage(&self, key: &str) -> Result<Usage, ServiceError> {
        let record = self.metastore.read(|tx| tx.snapshot(key))?;
        match (record.kind, record.remote) {
            (Kind::Active, _) => self.measure(record.id),
            (_, Some(_)) => Ok(REMOTE_USAGE),
            // Nobody writes into a view.
            (_, None) => Ok(record.usage.unwrap_or_default()),
        }
    }

    pub(super) fn measure(&self, id: crate::metastore::SnapshotId) -> Result<Usage, ServiceError> {
        let measured = disk_usage(&self.directories.fs(id));
        measured.map_err(|error| ServiceError::Disk("cannot measure the snapshot", error))
    }
}

/// Where a List is.
struct Cursor {
    /// One view for the whole List: a snapshot that is committed meanwhile changes its key, and would else be seen
    /// twice or never.
    tx: ReadTx,
    after: Option<String>,
}

impl Cursor {
    /// The next snapshots that pass; fewer than a page at the end.
    fn page(&mut self, filters: &Filters) -> Result<Vec<SnapshotRecord>, ServiceError> {
        let mut page = Vec::new();
        loop {
            let batch = self.tx.snapshots_after(self.after.as_deref(), PAGE)?;
            let Some(last) = batch.last() else { return Ok(page) };
            let last = last.key.clone();
            for record in batch {
                if filters.matches(&record) {
                    let key = record.key.clone();
                    page.push(record);
                    if page.len() == PAGE {
                        self.after = Some(key);
                        return Ok(page);
                    }
                }
            }
            self.after = Some(last);
        }
    }
}

/// Fields as containerd's own snapshotters show them (contract §1.4).
impl Fields for SnapshotRecord {
    fn field(&self, path: &[String]) -> Option<&str> {
        let (first, rest) = path.split_first()?;
        match (first.as_str(), rest) {
            ("name", _) => Some(&self.key),
            ("parent", _) => Some(self.parent.as_deref().unwrap_or_default()),
            ("kind", _) => Some(match self.kind {
                Kind::View => "view",
                Kind::Active => "active",
                Kind::Committed => "committed",
            }),
            ("labels", rest) => self.labels.get(&rest.join(".")).map(String::as_str),
            _ => None,
        }
    }
}
