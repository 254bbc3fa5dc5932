//! A snapshot gets its slot: the place under the FUSE root where its tree is.

use std::sync::Arc;

use peel_cache::{Layer, TreeId};
use peel_erofs::Image;
use peel_layer::{
    IndexKey, Limits, failpoint,
    implied::{self, ImpliedError},
    serve::Slot,
};

use super::{
    Inner,
    lower::directory_below,
    merged::{Below, Merged, MergedError},
    record,
    resolve::Resolved,
    slots::Shown,
};
use crate::metastore::{RemoteSnapshot, SnapshotRecord};

/// Why a snapshot got no slot. All of it is this node's trouble.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// The metadata cannot be read or written, or the snapshot was removed meanwhile.
    #[error(transparent)]
    Metastore(#[from] crate::metastore::MetastoreError),
    /// A tree image is damaged or cannot be written.
    #[error(transparent)]
    Cache(#[from] peel_cache::CacheError),
    /// The chain below cannot be read.
    #[error(transparent)]
    Merged(#[from] MergedError),
    /// What the layers below say about implied directories cannot be found out.
    #[error("its implied directories: {0}")]
    Implied(#[from] ImpliedError),
    /// The tree of its own cannot be written.
    #[error("its tree on this chain: {0}")]
    Write(#[from] peel_erofs::WriteError),
    /// A layer below is not readable any more.
    #[error("the layer below, {0:?}, has no tree")]
    Below(String),
    /// The kernel does not mount it.
    #[error(transparent)]
    Mount(#[from] crate::mounts::MountError),
    /// The work was cut off.
    #[error("it was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What a snapshot shows, and its slot if it has one.
pub(super) enum Place {
    /// It has its slot: it was readable before.
    Known(Slot),
    /// It shows this tree of this layer, and has no slot yet.
    New(IndexKey, Option<TreeId>),
}

/// What `snapshot` shows. `ancestors` are nearest first and have their slots.
pub(super) async fn place(
    inner: &Arc<Inner>,
    snapshot: &SnapshotRecord,
    layer: Arc<Layer>,
    ancestors: &[SnapshotRecord],
) -> Result<Place, PlaceError> {
    let known = snapshot.remote.as_ref().and_then(|remote| remote.slot).map(Slot);
    let (inner, ancestors) = (Arc::clone(inner), ancestors.to_vec());
    let place = move || {
        if let Some(slot) = known
            && let Some(shown) = inner.served.slots.shown(slot)
            && matches!(inner.served.tree_of(&shown), Ok(Some(_)))
        {
            return Ok(Place::Known(slot));
        }
        Ok(Place::New(layer.key(), inner.derive(&layer, &ancestors)?))
    };
    tokio::task::spawn_blocking(place).await?
}

/// Gives `snapshot` the slot of what it shows. From here on it is readable, also after a restart.
pub(super) async fn store(
    inner: &Arc<Inner>,
    snapshot: SnapshotRecord,
    (key, tree): (IndexKey, Option<TreeId>),
    resolved: &Resolved,
    ancestors: Vec<SnapshotRecord>,
) -> Result<Slot, PlaceError> {
    let (inner, resolved) = (Arc::clone(inner), resolved.clone());
    let store = move || {
        let _change = inner.slots_change.lock();
        let same = |ancestor: &&SnapshotRecord| {
            inner.shown(ancestor).is_some_and(|shown| shown.key == key && shown.tree == tree)
        };
        let occurrence = u32::try_from(ancestors.iter().filter(same).count()).unwrap_or(u32::MAX);
        let slot = inner.served.slots.assign(Shown { key, tree, occurrence })?;
        let readable = |remote: &mut RemoteSnapshot| {
            record::note_resolved(remote, &resolved);
            remote.slot = Some(slot.0);
        };
        inner.metastore.write(|tx| tx.update_remote(&snapshot.key, readable))?;
        failpoint::reach(|| "slot: given");
        Ok(slot)
    };
    tokio::task::spawn_blocking(store).await?
}

impl Inner {
    /// What a lazy snapshot shows, once it has its slot.
    pub(super) fn shown(&self, snapshot: &SnapshotRecord) -> Option<Shown> {
        self.served.slots.shown(Slot(snapshot.remote.as_ref()?.slot?))
    }

    /// The tree of its own that `layer` needs on `ancestors`, if it needs one: directories that it implies without
    /// naming look as they do below, not as the index has them.
    fn derive(&self, layer: &Layer, ancestors: &[SnapshotRecord]) -> Result<Option<TreeId>, PlaceError> {
        let names: Vec<&[u8]> = layer.index().implied().collect();
        if names.is_empty() || ancestors.is_empty() {
            return Ok(None);
        }
        let below = self.chain(ancestors)?;
        let image = Image::open(layer.tree()?).map_err(MergedError::from)?;
        let mut lookups = Limits::default().lookups;
        let tree = implied::resolve(&image, names.into_iter(), &mut |path| {
            directory_below(&below, path, &mut lookups)
        })?;
        let Some(tree) = tree else { return Ok(None) };
        let written = layer.publish_tree(|out| {
            peel_erofs::write_image(&tree, u64::from(image.data_blocks()), out).map(drop)
        });
        written.map(Some).map_err(|error| match error {
            peel_cache::PublishError::Cache(error) => error.into(),
            peel_cache::PublishError::Content(error) => error.into(),
        })
    }

    /// The trees of `snapshots`, nearest first.
    pub(super) fn chain(&self, snapshots: &[SnapshotRecord]) -> Result<Merged, PlaceError> {
        let below = |snapshot: &SnapshotRecord| match &snapshot.remote {
            None => Ok(Below::Directory(self.directories.fs(snapshot.id))),
            Some(_) => {
                let shown = self.shown(snapshot).ok_or_else(|| PlaceError::Below(snapshot.key.clone()))?;
                let tree =
                    self.served.tree_of(&shown)?.ok_or_else(|| PlaceError::Below(snapshot.key.clone()))?;
                Ok(Below::Tree(Image::open(tree).map_err(MergedError::from)?))
            }
        };
        snapshots.iter().map(below).collect::<Result<_, _>>().map(Merged)
    }

    /// Everything that `snapshot` stands upon, nearest first, as stored now.
    pub(super) async fn ancestors(
        self: &Arc<Self>,
        snapshot: &SnapshotRecord,
    ) -> Result<Vec<SnapshotRecord>, PlaceError> {
        let (inner, snapshot) = (Arc::clone(self), snapshot.clone());
        let read = move || inner.metastore.read(|tx| tx.ancestors(&snapshot));
        Ok(tokio::task::spawn_blocking(read).await??)
    }
}
