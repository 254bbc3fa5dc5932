//! The directory that overlayfs gets for a lazy snapshot.

use std::{path::PathBuf, sync::Arc};

use peel_layer::serve::Slot;
use tonic::Status;

use super::{Inner, place::PlaceError, record::index_keys, task::State};
use crate::metastore::SnapshotRecord;

impl Inner {
    /// The lowerdir of `snapshot`, mounted if it is the kernel that mounts it. While nobody has waited for the snapshot
    /// yet and it cannot be mounted, a path where nothing is.
    ///
    /// # Errors
    /// It cannot be mounted. One that is damaged is made anew for who waits for it next.
    pub(super) async fn lowerdir_of(self: &Arc<Self>, snapshot: &SnapshotRecord) -> Result<PathBuf, Status> {
        if let Some(error) = snapshot.remote.as_ref().and_then(|remote| self.contradiction(remote)) {
            return Err((&error).into());
        }
        // The record that the caller has may be older than the slot.
        let (slot, is_readable) = match self.snapshots.get(&snapshot.id).map(|task| task.state()) {
            Some(State::Done(slot)) => (Some(slot), true),
            _ => (snapshot.remote.as_ref().and_then(|remote| remote.slot).map(Slot), false),
        };
        // So that a mount fails; Mounts waits for the slot and gives its path.
        let nowhere = || self.mounts.nowhere(&format!("unresolved-{}", snapshot.id));
        let Some(slot) = slot else { return Ok(nowhere()) };
        let inner = Arc::clone(self);
        let mounted = tokio::task::spawn_blocking(move || inner.lowerdir(slot)).await;
        let mounted = mounted.map_err(|error| Status::internal(error.to_string()))?;
        if let Err(PlaceError::Cache(_)) = &mounted {
            self.snapshots.forget(&snapshot.id);
            for key in snapshot.remote.as_ref().map(index_keys).unwrap_or_default() {
                self.indexes.forget(&key);
            }
        }
        match mounted {
            Ok(lowerdir) => Ok(lowerdir),
            // A Prepare, the first since the start. Mounts comes after it and waits until the layer is readable.
            Err(error) if !is_readable => {
                tracing::warn!(snapshot = snapshot.key, %error, "layer cannot be mounted yet");
                Ok(nowhere())
            }
            Err(error) => Err(Status::failed_precondition(format!(
                "peel: snapshot {:?} cannot be mounted: {error}",
                snapshot.key
            ))),
        }
    }

    fn lowerdir(&self, slot: Slot) -> Result<PathBuf, PlaceError> {
        let gone = || PlaceError::Below(format!("slot {slot}"));
        let shown = self.served.slots.shown(slot).ok_or_else(gone)?;
        let layer = self.served.cache.layer(&shown.key)?.ok_or_else(gone)?;
        // Checked before the kernel gets it.
        self.served.tree_of(&shown)?.ok_or_else(gone)?;
        Ok(self.mounts.lowerdir(slot, &layer.tree_path(shown.tree))?)
    }
}
