//! The numbers of `peel stats` and of the metrics, as far as they are about layers and their bytes.

use std::collections::BTreeMap;

use peel_cache::{CacheStats, Cause};
use peel_fetch::FetchStats;
use peel_proto::peel::control::v1 as api;
use peel_registry::Stats as RegistryStats;

use super::{LazyLayers, report::filesystem};
use crate::metastore::MetastoreError;

impl LazyLayers {
    /// The daemon's counters; those of the filesystem are added by whoever owns it.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn stats(&self) -> Result<api::StatsResponse, MetastoreError> {
        let served = &self.0.served;
        let (cache, fetch, registry) =
            (served.cache.stats(), served.fetcher.stats(), served.registry().stats());
        let disk = served.cache.measure();
        let disk = disk.inspect_err(|error| tracing::warn!(%error, "the disk cannot be looked at")).ok();
        let mut snapshots = 0;
        self.0.metastore.snapshot()?.each_snapshot(|_| snapshots += 1)?;
        Ok(api::StatsResponse {
            cache_bytes: cache.present_bytes,
            content_bytes: cache.content_bytes,
            cache_hits: fetch.hits,
            cache_hit_bytes: fetch.hit_bytes,
            cache_misses: fetch.misses,
            cache_miss_bytes: fetch.miss_bytes,
            fetched_bytes: registry.bytes,
            fetch_requests: registry.requests,
            bytes_by_cause: by_cause(&fetch),
            shared_chunks: fetch.shared_chunks,
            shared_bytes: fetch.shared_bytes,
            layers: cache.layers.len() as u64,
            snapshots,
            ordinary_images: self.0.ordinary.by_reason(),
            wrong_chunks: fetch.mismatches + cache.chunks_damaged,
            failed_reads: fetch.failed_reads,
            events: events(&cache, &fetch, &registry, self.0.contents.counts(), self.0.mounts.fell_back()),
            images: images(&self.report_with(&cache)?),
            filesystem: disk.map(|(disk, _)| filesystem(disk)),
            cached_disk_bytes: cache.disk_bytes,
            gc_state: served.cache.gc_state().to_string(),
            evicted_chunks: cache.chunks_evicted,
            freed_bytes: cache.bytes_freed,
            freed_by_cause: Cause::ALL
                .iter()
                .zip(cache.freed_by_cause)
                .map(|(cause, bytes)| (cause.name().to_owned(), bytes))
                .collect(),
            oldest_access: cache.oldest_access.unwrap_or(0).into(),
            unstored_chunks: cache.chunks_refused + cache.chunks_yielded.iter().sum::<u64>(),
            // The filesystem's own numbers are not known here.
            ..api::StatsResponse::default()
        })
    }

    /// Whether the metadata can be read at all.
    ///
    /// # Errors
    /// Why not.
    pub fn check_metadata(&self) -> Result<(), MetastoreError> {
        self.0.metastore.snapshot().map(drop)
    }
}

fn by_cause(fetch: &FetchStats) -> BTreeMap<String, u64> {
    let causes = [
        ("demand", fetch.demand_bytes),
        ("read-ahead", fetch.prefetch_bytes),
        ("background", fetch.background_bytes),
        ("local", fetch.local_bytes),
    ];
    causes.into_iter().map(|(cause, bytes)| (cause.to_owned(), bytes)).collect()
}

/// What has no field of its own. Names are those of the metric's label.
fn events(
    cache: &CacheStats,
    fetch: &FetchStats,
    registry: &RegistryStats,
    (layers_read_whole, layers_quarantined): (u64, u64),
    layers_shown_through_fuse: u64,
) -> BTreeMap<String, u64> {
    let events = [
        ("chunks_stored", cache.chunks_stored),
        ("chunks_not_stored", cache.chunks_refused),
        ("chunks_damaged_on_disk", cache.chunks_damaged),
        ("chunks_damaged_by_sources", fetch.mismatches),
        ("cache_directories_recreated", cache.directories_recreated),
        ("layers_read_whole", layers_read_whole),
        ("layers_quarantined", layers_quarantined),
        ("layers_shown_through_fuse", layers_shown_through_fuse),
        ("fetch_rounds_repeated", fetch.retries),
        ("registry_errors", registry.errors),
        ("registry_retries", registry.retries),
        ("registry_redirects", registry.redirects),
        ("registry_tokens", registry.token_requests),
        ("registry_bytes_thrown_away", registry.skipped_bytes),
    ];
    events.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// How much of each image is here. A layer counts for the image that brought it last.
fn images(layers: &[api::Layer]) -> Vec<api::Image> {
    let mut images: BTreeMap<&str, api::Image> = BTreeMap::new();
    for layer in layers.iter().filter(|layer| layer.ours) {
        let image = images
            .entry(&layer.image)
            .or_insert_with(|| api::Image { reference: layer.image.clone(), ..api::Image::default() });
        image.layers += 1;
        image.present_bytes += layer.present_bytes;
        image.total_bytes += layer.total_bytes;
    }
    images.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_add_up_their_layers() {
        let layer = |image: &str, present_bytes, ours| api::Layer {
            image: image.to_owned(),
            present_bytes,
            total_bytes: 10,
            ours,
            ..api::Layer::default()
        };
        let images =
            images(&[layer("b", 1, true), layer("a", 2, true), layer("b", 3, true), layer("c", 0, false)]);
        let shown: Vec<_> = images
            .iter()
            .map(|image| (image.reference.as_str(), image.layers, image.present_bytes, image.total_bytes))
            .collect();
        assert_eq!(shown, [("a", 1, 2, 10), ("b", 2, 4, 20)]);
    }
}
