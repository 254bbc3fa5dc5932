//! What containerd itself reads of an image comes with the pull.
//!
//! CreateContainer reads `/etc/passwd` and `/etc/group` and copies every `VOLUME` directory, under the kubelet's
//! two-minute deadline; and containerd cannot even be killed while a FUSE request of its own is unanswered. So
//! these bytes are here before the gate of the image's topmost layer opens for the first time.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use peel_cache::TreeId;
use peel_erofs::Image;
use peel_fetch::Lane;
use peel_layer::{DataOffset, IndexKey, serve::ReadError};

use super::{
    Inner,
    error::{Cause, GateError},
    gate::gate_error,
    merged::{LazyFile, Merged, MergedError},
    place::PlaceError,
    progress::Progress,
    slots::Shown,
};
use crate::metastore::{RemoteSnapshot, SnapshotRecord};

/// Read by CRI to find the user and its groups.
const ALWAYS: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// How often the fetch's progress is passed on to the gate.
const TICK: Duration = Duration::from_millis(100);

/// Namespace of CRI's images. Asked only where containerd's content store is not read as files, for an image that
/// was being pulled when the daemon ended: a snapshot does not say whose it is.
const NAMESPACE: &str = "k8s.io";

/// Fetches the first files, if `remote`, which shows `top`, is the topmost layer of its image. Fails for an image
/// that containerd does not have any more, which is one whose pull failed: the next pull brings it again.
pub(super) async fn fetch(
    inner: &Arc<Inner>,
    remote: &RemoteSnapshot,
    top: (IndexKey, Option<TreeId>),
    ancestors: &[SnapshotRecord],
    progress: &Progress,
) -> Result<(), GateError> {
    let local = |error: &dyn std::fmt::Display| gate_error(remote, Cause::Local, error);
    let Ok(manifest) = remote.manifest_digest.parse() else { return Ok(()) };
    let judged = inner.images.get(NAMESPACE, &manifest).await;
    let judged =
        judged.map_err(|reason| local(&format_args!("its image is not known any more: {reason}")))?;
    if judged.image.layers.last().is_none_or(|top| top.chain_id.to_string() != remote.chain_id) {
        return Ok(());
    }
    let paths: Vec<String> =
        ALWAYS.into_iter().map(str::to_owned).chain(judged.image.volumes.iter().cloned()).collect();
    let (chain, owner) = (ancestors.to_vec(), Arc::clone(inner));
    let wanted = tokio::task::spawn_blocking(move || owner.ranges(top, &chain, &paths));
    let wanted = wanted.await.map_err(|error| local(&error))?.map_err(|error| local(&error))?;
    for (key, ranges) in wanted {
        let served = Arc::clone(&inner.served);
        let reader = tokio::task::spawn_blocking(move || served.reader(&key));
        let reader =
            reader.await.map_err(|error| local(&error))?.map_err(|error| read_error(remote, &error))?;
        let fetched = peel_fetch::Progress::default();
        let fetch = reader.prefetch(ranges, Lane::Demand, &fetched);
        tokio::pin!(fetch);
        let mut seen = 0;
        loop {
            let outcome = tokio::time::timeout(TICK, &mut fetch).await;
            let done = fetched.done();
            progress.add(done - seen);
            seen = done;
            if let Ok(outcome) = outcome {
                break outcome.map_err(|error| read_error(remote, &error))?;
            }
        }
    }
    Ok(())
}

fn read_error(remote: &RemoteSnapshot, error: &ReadError) -> GateError {
    let cause = match error {
        ReadError::TimedOut(_) | ReadError::Unavailable(_) => Cause::Unavailable,
        ReadError::Corrupt(_) => Cause::IndexRefused,
        ReadError::Gone | ReadError::Local(_) => Cause::Local,
    };
    gate_error(
        remote,
        cause,
        format_args!("a file that containerd reads at the start cannot be had: {error}"),
    )
}

type Ranges = HashMap<IndexKey, Vec<Range<DataOffset>>>;

impl Inner {
    /// The places of the files at `paths` in the data files of their layers.
    fn ranges(
        &self,
        (key, tree): (IndexKey, Option<TreeId>),
        ancestors: &[SnapshotRecord],
        paths: &[String],
    ) -> Result<Ranges, PlaceError> {
        let gone = || PlaceError::Below(key.to_string());
        let top = self.served.tree_of(&Shown { key, tree, occurrence: 0 })?.ok_or_else(gone)?;
        let mut merged = self.chain(ancestors)?;
        merged.0.insert(0, super::merged::Below::Tree(Image::open(top).map_err(MergedError::from)?));
        let below = ancestors.iter().map(|ancestor| self.shown(ancestor).map(|shown| shown.key));
        let keys: Vec<Option<IndexKey>> = std::iter::once(Some(key)).chain(below).collect();
        let mut ranges = Ranges::new();
        for path in paths {
            for file in merged.files(path.as_bytes())? {
                if let (Some(key), Some(range)) = (keys[file.layer], range(&merged, file)?) {
                    ranges.entry(key).or_default().push(range);
                }
            }
        }
        Ok(ranges)
    }
}

fn range(merged: &Merged, file: LazyFile) -> Result<Option<Range<DataOffset>>, MergedError> {
    let super::merged::Below::Tree(image) = &merged.0[file.layer] else { return Ok(None) };
    let inode = image.inode(file.nid)?;
    Ok(image.data_start(&inode)?.map(|start| DataOffset(start).span(inode.size)))
}
