//! Commit, Update, Remove, Cleanup.

use std::sync::Arc;

use peel_layer::failpoint;
use peel_proto::containerd::services::snapshots::v1 as api;
use tonic::Status;

use super::{
    Inner, ServiceError,
    convert::{check_key, check_labels, info},
};
use crate::metastore::{Commit, Kind, Labels, MetastoreError};

impl Inner {
    /// Turns an active snapshot into a committed one. containerd's own write transaction waits meanwhile.
    pub(super) fn commit(&self, request: api::CommitSnapshotRequest) -> Result<(), ServiceError> {
        let api::CommitSnapshotRequest { name, key, labels, parent, .. } = request;
        check_key(&name)?;
        let labels = check_labels(labels)?;
        let record = self.metastore.read(|tx| match tx.find_snapshot(&name)? {
            Some(_) => Err(MetastoreError::Exists(name.clone())),
            None => tx.snapshot(&key),
        })?;
        // Before the write transaction, which others wait for. Nobody writes any more: the layer was applied.
        let usage = if record.kind == Kind::Active { self.measure(record.id)? } else { <_>::default() };
        let parent = (!parent.is_empty()).then_some(parent.as_str());
        failpoint::reach(|| "commit: measured");
        self.metastore
            .write(|tx| tx.commit_snapshot(Commit { name: &name, key: &key, labels, parent, usage }))?;
        failpoint::reach(|| "commit: stored");
        Ok(())
    }

    /// Changes labels, which are all that can be changed.
    pub(super) fn update(&self, request: api::UpdateSnapshotRequest) -> Result<api::Info, ServiceError> {
        let new = request.info.unwrap_or_default();
        let paths = request.update_mask.unwrap_or_default().paths;
        let paths = if paths.is_empty() { vec!["labels".to_owned()] } else { paths };
        let changes: Vec<Change> = paths.iter().map(|path| Change::parse(path)).collect::<Result<_, _>>()?;
        let given = check_labels(new.labels)?;
        let apply = |labels: &mut Labels| changes.iter().for_each(|change| change.apply(labels, &given));
        let record = self.metastore.write(|tx| tx.update_labels(&new.name, apply))?;
        Ok(info(record))
    }

    /// Removes a snapshot. containerd's lock is held meanwhile, so its files only move out of the way.
    pub(super) fn remove(&self, key: &str) -> Result<(), ServiceError> {
        let removed = self.metastore.write(|tx| tx.remove_snapshot(key))?;
        failpoint::reach(|| "remove: stored");
        if removed.remote.is_some() {
            self.layers.removed(&removed);
        } else {
            self.idmapped.release(removed.id);
            self.directories.discard(removed.id);
            failpoint::reach(|| "remove: discarded");
            self.removed.notify_one();
        }
        Ok(())
    }

    /// Gives back what removed snapshots took. May be slow: containerd holds nothing.
    pub(super) async fn cleanup(self: &Arc<Self>) -> Result<(), Status> {
        let emptied = self.blocking(Self::reap).await;
        self.layers.cleanup().await;
        emptied
    }
}

/// What one path of an update mask asks for.
enum Change<'a> {
    All,
    One(&'a str),
}

impl<'a> Change<'a> {
    fn parse(path: &'a str) -> Result<Self, ServiceError> {
        match path.strip_prefix("labels.") {
            Some(key) if !key.is_empty() => Ok(Self::One(key)),
            None if path == "labels" => Ok(Self::All),
            _ => Err(ServiceError::Invalid(format!("cannot update {path:?}: only labels can be changed"))),
        }
    }

    fn apply(&self, labels: &mut Labels, given: &Labels) {
        match self {
            Self::All => labels.clone_from(given),
            Self::One(key) => match given.get(*key) {
                Some(value) => drop(labels.insert((*key).to_owned(), value.clone())),
                None => drop(labels.remove(*key)),
            },
        }
    }
}
