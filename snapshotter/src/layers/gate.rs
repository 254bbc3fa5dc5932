//! The gate: where pulls and mounts wait for a layer.
//!
//! Rules (design.md, "Prepare never waits; the leased Stat does"): the wait ends when nothing moved for
//! `pull.timeout`, and, when it does not belong to a recent pull, after `pull.total_timeout` in all. Work that
//! failed is tried again by the next waiter, with the registries and credentials of now, unless the image is
//! about to become ordinary: then the remembered error is the answer, at once, so that containerd lets go of the
//! snapshot.

use std::sync::Arc;

use futures::future::BoxFuture;
use peel_layer::{ManifestDigest, serve::Slot};
use tonic::Status;

use super::{
    Inner,
    error::{Cause, GateError},
    first_files,
    place::{self, Place},
    progress::Progress,
    task::{OnFailure, Patience, State, Task},
};
use crate::metastore::{RemoteSnapshot, SnapshotRecord};

impl Inner {
    /// Waits until `snapshot` can be mounted.
    pub(super) async fn readable(self: &Arc<Self>, snapshot: &SnapshotRecord) -> Result<Slot, Status> {
        let Some(remote) = &snapshot.remote else {
            return Err(Status::internal(format!("snapshot {:?} is not served by Peel", snapshot.key)));
        };
        if let Some(error) = self.contradiction(remote) {
            return Err((&error).into());
        }
        let manifest: Option<ManifestDigest> = remote.manifest_digest.parse().ok();
        let remembered = manifest.and_then(|manifest| self.failures.recent(&manifest));
        let failed_before =
            self.snapshots.get(&snapshot.id).is_some_and(|task| matches!(task.state(), State::Failed(_)));
        if let (Some(error), true) = (&remembered, failed_before) {
            return Err(error.into());
        }
        let task = self.task(snapshot, OnFailure::Restart);
        let outcome = task.wait(self.patience(manifest), &self.progress_of(manifest)).await;
        let error = match outcome {
            Ok(Some(Ok(slot))) => return Ok(slot),
            Ok(Some(Err(error))) => error,
            Ok(None) => lost(remote),
            Err(patience) => gate_error(remote, Cause::TimedOut, patience),
        };
        tracing::warn!(snapshot = snapshot.key, %error, "layer is not readable");
        if let Some(manifest) = manifest {
            self.failures.note(manifest, &error);
        }
        Err((&error).into())
    }

    fn patience(&self, manifest: Option<ManifestDigest>) -> Patience {
        let config = &self.config.now().pull;
        let pulled =
            |manifest| self.prepared.lock().get(&manifest).is_some_and(|at| at.elapsed() < config.recent);
        Patience {
            silence: config.timeout,
            total: (!manifest.is_some_and(pulled)).then_some(config.total_timeout),
        }
    }

    /// What moves for other layers of the same image: they share the link.
    fn progress_of(&self, manifest: Option<ManifestDigest>) -> Vec<Arc<Progress>> {
        let judged = manifest.and_then(|manifest| self.images.known(&manifest));
        let Some(judged) = judged else { return Vec::new() };
        let ztocs = manifest.map(|manifest| self.soci.keys(&manifest)).unwrap_or_default();
        judged
            .keys()
            .chain(ztocs)
            .filter_map(|key| self.indexes.get(&key))
            .map(|task| Arc::clone(task.progress()))
            .collect()
    }

    /// The task that makes a snapshot readable.
    pub(super) fn task(self: &Arc<Self>, snapshot: &SnapshotRecord, on_failure: OnFailure) -> Task<Slot> {
        let (inner, snapshot) = (Arc::clone(self), snapshot.clone());
        self.snapshots.start(&snapshot.id.clone(), on_failure, move |progress| {
            make_readable(inner, snapshot, on_failure, progress)
        })
    }
}

/// Boxed: the task of a snapshot starts the task of the one below.
fn make_readable(
    inner: Arc<Inner>,
    snapshot: SnapshotRecord,
    on_failure: OnFailure,
    progress: Arc<Progress>,
) -> BoxFuture<'static, Result<Slot, GateError>> {
    Box::pin(async move {
        let remote = snapshot.remote.clone().unwrap_or_default();

        let resolved = inner.resolve(&remote, on_failure).await?;
        progress.add(1);
        let ancestors =
            inner.ancestors(&snapshot).await.map_err(|error| gate_error(&remote, Cause::Local, error))?;
        if let Some(below) = ancestors.iter().find(|ancestor| ancestor.remote.is_some()) {
            inner.task(below, on_failure).outcome().await.ok_or_else(|| lost(&remote))??;
        }
        progress.add(1);
        // Read again: the ones below have their slots now.
        let ancestors =
            inner.ancestors(&snapshot).await.map_err(|error| gate_error(&remote, Cause::Local, error))?;
        let local = |error| gate_error(&remote, Cause::Local, error);
        let shown = match place::place(&inner, &snapshot, Arc::clone(&resolved.layer), &ancestors)
            .await
            .map_err(local)?
        {
            Place::Known(slot) => return Ok(slot),
            Place::New(key, tree) => (key, tree),
        };
        progress.add(1);
        // Before the slot: whoever dies in between begins again, and does not take the layer for readable.
        first_files::fetch(&inner, &remote, shown, &ancestors, &progress).await?;
        let slot = place::store(&inner, snapshot, shown, &resolved, ancestors).await.map_err(local)?;
        Ok(slot)
    })
}

/// The task of a layer ended without saying how: it panicked, and the log has it.
pub(super) fn lost(remote: &RemoteSnapshot) -> GateError {
    gate_error(remote, Cause::Local, "resolving it failed; see the daemon's log")
}

pub(super) fn gate_error(remote: &RemoteSnapshot, cause: Cause, detail: impl std::fmt::Display) -> GateError {
    GateError::new(cause, &remote.image_ref, &remote.layer_digest, detail)
}
