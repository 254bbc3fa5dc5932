//! What `peel pulls` shows: images in the gate, and how far each of their layers is.

use std::collections::BTreeMap;

use peel_layer::{IndexKey, LayerDigest, ManifestDigest};
use peel_proto::peel::control::v1 as api;

use super::{
    Inner, LazyLayers,
    record::{way_of, ways},
    task::{self, State},
};
use crate::{
    image::Way,
    metastore::{MetastoreError, RemoteSnapshot},
};

impl LazyLayers {
    /// Every image of which a snapshot is not readable yet, by what it was pulled as.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn pulls(&self) -> Result<Vec<api::Pull>, MetastoreError> {
        let inner = &self.0;
        let mut waiting: BTreeMap<(String, String), Vec<RemoteSnapshot>> = BTreeMap::new();
        inner.metastore.snapshot()?.each_snapshot(|snapshot| {
            if let Some(remote) = snapshot.remote.filter(|remote| remote.slot.is_none()) {
                let image = (remote.image_ref.clone(), remote.manifest_digest.clone());
                waiting.entry(image).or_default().push(remote);
            }
        })?;
        let pull = |((image, manifest_digest), known): ((String, String), Vec<RemoteSnapshot>)| {
            let manifest = manifest_digest.parse::<ManifestDigest>().ok();
            let judged = manifest.and_then(|manifest| inner.images.known(&manifest));
            // Layers whose Prepare has not come yet are at work all the same; after a restart they are not known.
            let layers = match judged.as_ref().map(|judged| (&judged.image.layers, &judged.verdict)) {
                Some((layers, Ok(supports))) => layers
                    .iter()
                    .zip(supports)
                    .map(|(layer, support)| {
                        let key = |way| inner.key_of(way, layer.digest, &manifest_digest);
                        let keys = support.ways.iter().filter_map(|way| Some((key(way)?, way)));
                        inner.pull_layer(layer.digest.to_string(), layer.size, keys)
                    })
                    .collect(),
                _ => known.iter().map(|remote| inner.pull_of(remote)).collect(),
            };
            api::Pull { image, manifest_digest, layers }
        };
        Ok(waiting.into_iter().map(pull).collect())
    }
}

impl Inner {
    /// The way that a layer is being resolved in, or was, and the index that it leads to.
    pub(super) fn current(&self, remote: &RemoteSnapshot, first: IndexKey) -> (IndexKey, Option<Way>) {
        if remote.described_by.is_empty() {
            let started = |way: Way| {
                let key = self.key_of(&way, first.layer, &remote.manifest_digest)?;
                self.indexes.get(&key).map(|_| (key, Some(way)))
            };
            if let Some(found) = ways(remote).into_iter().rev().find_map(started) {
                return found;
            }
        }
        (first, way_of(remote, &first))
    }

    /// The index that a way leads to, as far as it is known by now.
    fn key_of(&self, way: &Way, layer: LayerDigest, manifest: &str) -> Option<IndexKey> {
        way.key(layer).or_else(|| {
            let keys = self.soci.keys(&manifest.parse().ok()?);
            keys.into_iter().find(|key| key.layer == layer)
        })
    }

    fn pull_of(&self, remote: &RemoteSnapshot) -> api::PullLayer {
        let ways = ways(remote);
        let digest = remote.layer_digest.parse();
        let key = |way| self.key_of(way, digest.clone().ok()?, &remote.manifest_digest);
        let keys = ways.iter().filter_map(|way| Some((key(way)?, way)));
        self.pull_layer(remote.layer_digest.clone(), remote.layer_size, keys)
    }

    /// A layer in the last of its ways that was begun.
    fn pull_layer<'a>(
        &self,
        digest: String,
        size: u64,
        ways: impl Iterator<Item = (IndexKey, &'a Way)>,
    ) -> api::PullLayer {
        let begun = ways.filter_map(|(key, way)| Some((self.indexes.get(&key)?, way))).last();
        let Some((task, way)) = begun else {
            return api::PullLayer { digest, size, state: "waiting".to_owned(), ..api::PullLayer::default() };
        };
        let (state, error) = match task.state() {
            State::Running if way.is_stream() => ("streaming", String::new()),
            State::Running => ("indexing", String::new()),
            State::Done(_) => ("readable", String::new()),
            State::Failed(error) => ("failed", error.to_string()),
            State::Lost => ("failed", task::LOST.to_owned()),
        };
        api::PullLayer {
            digest,
            size,
            format: way.format().name().to_owned(),
            state: state.to_owned(),
            downloaded_bytes: task.progress().downloaded().0,
            error,
        }
    }
}
