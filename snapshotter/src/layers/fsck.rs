//! `peel fsck`: checks what is on the disk, and says whose it is.
//!
//! The work is the cache's ([`Cache::check`]). Here it gets the images' names, and what follows a repair beside a running
//! daemon: a damaged index that went is resolved again when somebody asks for the layer, not taken from memory.

use std::{collections::HashMap, ops::ControlFlow, path::Path, sync::Arc};

use anyhow::Context as _;
use peel_cache::{Cache, Checked, Damage, Finding};
use peel_proto::peel::control::v1 as api;
use tokio::sync::mpsc;
use tonic::Status;

use super::{Inner, LazyLayers, record::index_keys};
use crate::metastore::{self, Metastore, MetastoreError};

/// Answers on their way to whoever asked; the check waits for a slow one.
const QUEUE: usize = 16;

impl LazyLayers {
    /// Checks the daemon's cache, as long as somebody listens. Readers go on meanwhile.
    #[must_use]
    pub fn fsck(&self, repair: bool) -> mpsc::Receiver<Result<api::FsckProgress, Status>> {
        let (answers, listener) = mpsc::channel(QUEUE);
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let checked = check(&inner.served.cache, &inner.metastore, repair, &mut |finding, progress| {
                if let Some(finding) = finding.filter(|finding| finding.repaired) {
                    inner.forget_index(finding);
                }
                match answers.blocking_send(Ok(progress)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            if let Err(error) = checked {
                let _ = answers.blocking_send(Err(Status::internal(format!("{error:#}"))));
            }
        });
        listener
    }
}

impl Inner {
    /// The index of a finding is gone: nobody waits for it in vain, and the next who asks resolves it again.
    fn forget_index(&self, finding: &Finding) {
        tracing::warn!(path = %finding.path.display(), damage = ?finding.damage, "repaired by fsck");
        if !matches!(finding.damage, Damage::Index(_)) {
            return;
        }
        let forgotten = self.metastore.snapshot().and_then(|store| {
            store.each_snapshot(|snapshot| {
                let mut keys = snapshot.remote.as_ref().map(index_keys).unwrap_or_default().into_iter();
                if let Some(key) = keys.find(|key| key.to_string() == finding.name) {
                    self.indexes.forget(&key);
                    self.snapshots.forget(&snapshot.id);
                }
            })
        });
        if let Err(error) = forgotten {
            tracing::warn!(%error, "repaired layers are resolved again after a restart only");
        }
    }
}

/// Checks the state directory `root`, which no daemon uses. `tell` hears of everything as it goes on.
///
/// # Errors
/// The directories or the metadata cannot be read.
pub fn check_directory(
    root: &Path,
    repair: bool,
    tell: &mut dyn FnMut(api::FsckProgress) -> ControlFlow<()>,
) -> anyhow::Result<Checked> {
    let metadata = root.join(metastore::FILE);
    anyhow::ensure!(metadata.exists(), "{} is no state directory of Peel", root.display());
    let metastore = Metastore::open(&metadata)?;
    let cache = Cache::open_as_found(peel_cache::Config::new(root.join("index"), root.join("cache"))?)?;
    check(&cache, &metastore, repair, &mut |_, progress| tell(progress))
}

fn check(
    cache: &Cache,
    metastore: &Metastore,
    repair: bool,
    tell: &mut dyn FnMut(Option<&Finding>, api::FsckProgress) -> ControlFlow<()>,
) -> anyhow::Result<Checked> {
    let images = images(metastore).context("the metadata cannot be read")?;
    let checked = cache.check(repair, &mut |finding, checked| {
        let progress = api::FsckProgress {
            layers: checked.layers,
            of_layers: checked.of_layers,
            chunks: checked.chunks,
            bytes: checked.bytes,
            finding: finding.as_ref().map(|finding| shown(finding, &images)),
        };
        tell(finding.as_ref(), progress)
    })?;
    Ok(checked)
}

/// References of the images that brought layers last, by layer digest.
fn images(metastore: &Metastore) -> Result<HashMap<String, String>, MetastoreError> {
    let mut images = HashMap::new();
    metastore.snapshot()?.each_snapshot(|snapshot| {
        if let Some(remote) = snapshot.remote {
            images.insert(remote.layer_digest, remote.image_ref);
        }
    })?;
    Ok(images)
}

fn shown(finding: &Finding, images: &HashMap<String, String>) -> api::FsckFinding {
    let layer = finding.layer.map(|layer| layer.to_string()).unwrap_or_default();
    let (kind, detail, chunks) = match &finding.damage {
        Damage::Index(reason) => ("index", reason.clone(), 0),
        Damage::Map(reason) => ("map", reason.clone(), 0),
        Damage::Chunks(count, first) => ("chunks", first_of(*count, first), *count),
        Damage::Orphan => ("orphan", "no index has this folder".to_owned(), 0),
        Damage::Unfinished => ("unfinished", "a crash left it half done".to_owned(), 0),
    };
    api::FsckFinding {
        image: images.get(&layer).cloned().unwrap_or_default(),
        layer,
        path: finding.path.display().to_string(),
        kind: kind.to_owned(),
        detail,
        chunks,
        repaired: finding.repaired,
    }
}

fn first_of(count: u64, first: &[u32]) -> String {
    let ids: Vec<String> = first.iter().map(u32::to_string).collect();
    let more = if count > first.len() as u64 { ", …" } else { "" };
    format!("{count} chunks have not their digest: {}{more}", ids.join(", "))
}
