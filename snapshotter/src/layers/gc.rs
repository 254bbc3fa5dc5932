//! What eviction has to know of snapshots, and rounds of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::Context as _;
use peel_cache::{Evicted, LayerUsers, Manual, Round, Use};
use peel_layer::IndexKey;

use super::{Inner, LazyLayers, record::index_key};
use crate::metastore::{Kind, MetastoreError};

impl LazyLayers {
    /// Gives back what is due, or what was asked for. See [`peel_cache::Cache::collect`].
    ///
    /// # Errors
    /// The disk cannot be looked at.
    pub async fn collect(&self, manual: Option<Manual>) -> anyhow::Result<Round> {
        let inner = Arc::clone(&self.0);
        let collect = move || inner.served.cache.collect(&*inner, manual);
        let round = tokio::task::spawn_blocking(collect).await.context("eviction failed")??;
        if !round.evicted.is_empty() && !manual.is_some_and(|manual| manual.dry_run) {
            const MIB: u64 = 1 << 20;
            tracing::info!(
                used_percent = round.disk.percent(),
                wanted_mib = round.wanted / MIB,
                freed_mib = round.freed / MIB,
                layers = round.evicted.len(),
                "evicted"
            );
        }
        Ok(round)
    }

    /// Evicts all chunks of the layers of `what`: an image reference or manifest digest, or a layer's digest; a digest
    /// may be cut after twelve hex digits. Nothing if no layer goes by that name.
    ///
    /// # Errors
    /// The metadata cannot be read, or a layer's maps not be written.
    pub async fn evict(&self, what: String) -> anyhow::Result<Vec<Evicted>> {
        let inner = Arc::clone(&self.0);
        let evict = move || -> anyhow::Result<Vec<Evicted>> {
            let mut evicted = Vec::new();
            for key in inner.keys_of(&what)? {
                evicted.extend(inner.served.cache.evict(&key)?);
            }
            Ok(evicted)
        };
        tokio::task::spawn_blocking(evict).await.context("eviction failed")?
    }
}

/// Hex digits of a digest that are enough to name something: what people copy from listings.
const PREFIX_DIGITS: usize = 12;

impl Inner {
    fn keys_of(&self, what: &str) -> Result<HashSet<IndexKey>, MetastoreError> {
        let digits = what.strip_prefix("sha256:").unwrap_or(what);
        let is_digest =
            digits.len() >= PREFIX_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let named = |digest: &str| {
            is_digest && digest.strip_prefix("sha256:").is_some_and(|digest| digest.starts_with(digits))
        };
        let mut keys = HashSet::new();
        self.metastore.snapshot()?.each_snapshot(|snapshot| {
            if let Some(remote) = snapshot.remote
                && (remote.image_ref == what || named(&remote.layer_digest) || named(&remote.manifest_digest))
            {
                keys.extend(index_key(&remote));
            }
        })?;
        Ok(keys)
    }

    fn layers_in_use(&self) -> Result<HashMap<IndexKey, Use>, MetastoreError> {
        let mut parents = HashMap::new();
        let mut standing = Vec::new();
        self.metastore.snapshot()?.each_snapshot(|snapshot| {
            if snapshot.kind != Kind::Committed {
                standing.extend(snapshot.parent.clone());
            }
            let key = snapshot.remote.as_ref().and_then(index_key);
            parents.insert(snapshot.key, (snapshot.parent, key));
        })?;
        let mut uses: HashMap<IndexKey, Use> =
            parents.values().filter_map(|(_, key)| key.map(|key| (key, Use::Idle))).collect();
        // Each chain up to where another has been already.
        while let Some(name) = standing.pop() {
            if let Some((parent, key)) = parents.remove(&name) {
                uses.extend(key.map(|key| (key, Use::Running)));
                standing.extend(parent);
            }
        }
        Ok(uses)
    }
}

impl LayerUsers for Inner {
    fn release(&self, at_once: bool) {
        if let Err(error) = self.reap(at_once) {
            tracing::warn!(%error, "unused layers were not given back");
        }
    }

    fn uses(&self) -> Option<HashMap<IndexKey, Use>> {
        self.layers_in_use()
            .inspect_err(|error| tracing::warn!(%error, "who uses which layer is not known"))
            .ok()
    }
}
