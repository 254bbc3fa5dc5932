//! From an answer of the control API to metrics.

use std::{collections::BTreeMap, fmt};

use peel_proto::peel::control::v1::StatsResponse;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// The metrics of `stats` in the OpenMetrics text format, each named `peel_…`.
///
/// # Errors
/// Never, unless a label's value cannot be written.
pub(super) fn text(stats: StatsResponse) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("peel");
    registry.register_collector(Box::new(Numbers(stats)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Numbers(StatsResponse);

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = &self.0;
        let mut out = Output(encoder);
        out.gauge("cache_bytes", "Verified bytes in the cache", stats.cache_bytes)?;
        out.gauge("cache_disk_bytes", "Blocks of the cache's data files", stats.cached_disk_bytes)?;
        if let Some(disk) = &stats.filesystem {
            out.gauge("disk_capacity_bytes", "Capacity of the cache's filesystem", disk.capacity_bytes)?;
            out.gauge("disk_available_bytes", "Bytes of it that may still be written", disk.available_bytes)?;
        }
        out.gauge(
            "eviction_stuck",
            "Whether eviction cannot reach its mark",
            (stats.gc_state != "idle").into(),
        )?;
        out.counter("evicted_chunks", "Chunks that were evicted", stats.evicted_chunks)?;
        out.counter("evicted_bytes", "Bytes of disk that eviction freed", stats.freed_bytes)?;
        out.family("freed_bytes", "Bytes of disk given back, by cause", "cause", &stats.freed_by_cause)?;
        let help = "Unix time of the last use of what was not used for longest";
        out.gauge("oldest_access_seconds", help, stats.oldest_access)?;
        out.counter("unstored_chunks", "Chunks served from memory for want of room", stats.unstored_chunks)?;
        out.gauge("content_bytes", "Bytes of all files of the layers that are served", stats.content_bytes)?;
        out.counter("reads_hit", "Reads answered from the cache alone", stats.cache_hits)?;
        out.counter("reads_missed", "Reads that waited for a source", stats.cache_misses)?;
        out.counter("read_hit_bytes", "Bytes of reads answered from the cache alone", stats.cache_hit_bytes)?;
        out.counter("read_missed_bytes", "Bytes of reads that waited for a source", stats.cache_miss_bytes)?;
        out.counter("reads_failed", "Reads that ended in an error", stats.failed_reads)?;
        out.gauge("reads_pending", "Reads that wait for their answer now", stats.pending_reads)?;
        out.counter("registry_received_bytes", "Bytes that came from registries", stats.fetched_bytes)?;
        out.counter("registry_requests", "Requests to registries", stats.fetch_requests)?;
        let help = "Compressed bytes of layers that came, by what they came for";
        out.family("fetched_bytes", help, "cause", &stats.bytes_by_cause)?;
        out.counter("shared_chunks", "Chunks copied from other layers, not fetched", stats.shared_chunks)?;
        out.counter("shared_bytes", "Bytes of those", stats.shared_bytes)?;
        out.counter("wrong_chunks", "Chunks that had not the digest of their index", stats.wrong_chunks)?;
        out.family("events", "What else happened, by name", "event", &stats.events)?;
        out.family("fuse_requests", "Answered FUSE requests, by kind", "kind", &stats.fuse_requests)?;
        out.gauge("layers", "Layers with an index", stats.layers)?;
        out.gauge("snapshots", "Snapshots of all kinds", stats.snapshots)?;
        out.gauge("images", "Images that are served", stats.images.len() as u64)?;
        let ordinary = stats.ordinary_images.values().sum();
        out.gauge("images_ordinary", "Images left to containerd since the start", ordinary)?;
        out.gauge("connection_generation", "Generation of the FUSE connection", stats.generation)?;
        out.counter("connections_lost", "FUSE connections that ended in use", stats.lost_connections)?;
        let stranded = stats.stranded_snapshots.len() as u64;
        out.gauge("snapshots_stranded", "Snapshots mounted on dead FUSE connections", stranded)
    }
}

struct Output<'a>(DescriptorEncoder<'a>);

impl Output<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        // Gauges of the format are signed; nothing here comes near the limit.
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    /// Counters of one name, told apart by one label.
    fn family(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<String, u64>) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in values {
            ConstCounter::new(*count).encode(family.encode_family(&[(label, value.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_line() {
        let stats = StatsResponse {
            cache_bytes: 17,
            cache_hits: 3,
            bytes_by_cause: [("demand".to_owned(), 5), ("local".to_owned(), 0)].into(),
            stranded_snapshots: vec!["k8s.io/1/a\"b\n".to_owned()],
            ..StatsResponse::default()
        };
        let text = text(stats).unwrap();
        for line in [
            "peel_cache_bytes 17",
            "peel_reads_hit_total 3",
            "peel_fetched_bytes_total{cause=\"demand\"} 5",
            "peel_fetched_bytes_total{cause=\"local\"} 0",
            "peel_snapshots_stranded 1",
            "# TYPE peel_reads_hit counter",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
}
