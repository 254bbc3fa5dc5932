//! Snapshots that are not what their image says: nobody gets to use them any more.
//!
//! A lazy layer's diff id is a claim until its blob was read whole ([`super::complete`]), and the chain id that hangs off
//! it is shared by all images of a namespace. Once the claim is found to be false, the snapshot and all that stands on it
//! are refused: to the Stat of a pull, to Prepare, to Mounts, and to the decision about a new image that claims the same.
//! Containers that run go on, since nothing could be put in the place of what they use; they are named. Removing is
//! allowed: it is the remedy.

use std::{collections::HashSet, sync::Arc};

use peel_fetch::Content;
use peel_layer::{DiffId, LayerDigest};
use tonic::Status;

use super::{
    Inner,
    error::{Cause, GateError},
    gate::gate_error,
};
use crate::metastore::{Kind, MetastoreError, RemoteSnapshot, SnapshotRecord};

impl Inner {
    /// Why nobody may use what `remote` stands for, if it was found out.
    pub(super) fn contradiction(&self, remote: &RemoteSnapshot) -> Option<GateError> {
        let found = self.contents.get(&remote.layer_digest.parse().ok()?)?;
        let lie = lie(&remote.diff_id, &found)?;
        Some(gate_error(remote, Cause::Quarantined, lie))
    }

    /// The same for `snapshot` and all that it stands on.
    pub(super) async fn check_quarantine(self: &Arc<Self>, snapshot: &SnapshotRecord) -> Result<(), Status> {
        let ancestors = self.ancestors(snapshot).await;
        let ancestors = ancestors.map_err(|error| Status::internal(format!("peel: {error}")))?;
        let all = std::iter::once(snapshot).chain(&ancestors);
        match all.filter_map(|snapshot| self.contradiction(snapshot.remote.as_ref()?)).next() {
            Some(error) => Err((&error).into()),
            None => Ok(()),
        }
    }

    /// Says in the log which snapshots of `layer`, or of all layers, are in quarantine, and who uses them.
    pub(super) fn log_quarantine(&self, layer: Option<LayerDigest>) -> Result<(), MetastoreError> {
        let (mut keys, mut errors) = (HashSet::new(), Vec::new());
        self.metastore.snapshot()?.each_snapshot(|snapshot| {
            let of_layer =
                |remote: &&RemoteSnapshot| layer.is_none_or(|layer| remote.layer_digest == layer.to_string());
            let remote = snapshot.remote.as_ref().filter(of_layer);
            if let Some(error) = remote.and_then(|remote| self.contradiction(remote)) {
                keys.insert(snapshot.key);
                errors.push(error);
            }
        })?;
        if errors.is_empty() {
            return Ok(());
        }
        if layer.is_some() {
            self.contents.count_contradiction();
        }
        let users = self.users(&keys)?;
        for error in errors {
            tracing::error!(%error, ?users, "a layer is not what its image claims: it is in quarantine, with all that stands on it");
        }
        Ok(())
    }

    /// Containers, by the keys of their snapshots, that stand on one of `keys`.
    pub(super) fn users(&self, keys: &HashSet<String>) -> Result<Vec<String>, MetastoreError> {
        let store = self.metastore.snapshot()?;
        let mut containers = Vec::new();
        store.each_snapshot(|snapshot| {
            if snapshot.kind != Kind::Committed {
                containers.push(snapshot);
            }
        })?;
        let mut users = Vec::new();
        for container in containers {
            if store.ancestors(&container)?.iter().any(|below| keys.contains(&below.key)) {
                users.push(container.key);
            }
        }
        Ok(users)
    }
}

/// What is false about the claim, if anything is.
fn lie(claimed: &str, found: &Content) -> Option<String> {
    let claims = |what: &str| {
        format!(
            "{what}, but the image's config claims the diff id {claimed}: the layer and all that stands on it are in quarantine"
        )
    };
    match found {
        Content::Tar(found) if claimed.parse::<DiffId>().is_ok_and(|claimed| claimed == *found) => None,
        Content::Tar(found) => Some(claims(&format!("its content has the diff id {found}"))),
        Content::Undecodable(problem) => {
            Some(claims(&format!("its content cannot be decompressed ({problem})")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_are_named() {
        let (right, wrong) = (DiffId::of(b"right"), DiffId::of(b"wrong"));
        assert_eq!(lie(&right.to_string(), &Content::Tar(right)), None);
        let text = lie(&wrong.to_string(), &Content::Tar(right)).unwrap();
        assert!(text.contains(&right.to_string()) && text.contains(&wrong.to_string()), "{text}");
        let text = lie(&right.to_string(), &Content::Undecodable("cut short".to_owned())).unwrap();
        assert!(text.contains("cut short"), "{text}");
    }
}
