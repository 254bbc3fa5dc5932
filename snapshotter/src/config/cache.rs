//! What is kept on disk, and how much of it.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// `imageGCLowThresholdPercent` of a kubelet that was not told otherwise: where its image GC ends.
pub const KUBELET_LOW_PERCENT: u8 = 80;

/// What is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Usage of the filesystem, as the kubelet counts it, at which eviction begins. The kubelet removes images, and
    /// evicts pods, at 85 %: it shall never get there because of the cache.
    pub high_percent: u8,
    /// Usage at which eviction ends.
    pub low_percent: u8,
    /// The cache's own limit, besides.
    pub max_bytes: Option<ByteSize>,
    /// What eviction leaves the cache, whoever fills the disk: what containers are just reading should not be fetched
    /// again and again.
    pub min_bytes: ByteSize,
    /// How long a layer that no snapshot references is kept, so that a failed pull goes on where it stopped. Above
    /// `low_percent` it goes at once.
    #[serde(with = "humantime_serde")]
    pub unreferenced_ttl: Duration,
    /// How often usage is looked at, unreferenced layers are looked for, and the chunk maps are made durable.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            high_percent: 80,
            low_percent: 75,
            max_bytes: None,
            min_bytes: ByteSize::mib(256),
            unreferenced_ttl: Duration::from_secs(600),
            interval: Duration::from_secs(5),
        }
    }
}

impl Cache {
    /// As the cache takes it.
    #[must_use]
    pub fn limits(&self) -> peel_cache::Limits {
        peel_cache::Limits {
            high_percent: self.high_percent,
            low_percent: self.low_percent,
            max_bytes: self.max_bytes.map(|max| max.as_u64()),
            min_bytes: self.min_bytes.as_u64(),
        }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Self { high_percent: high, low_percent: low, max_bytes: max, min_bytes: min, .. } = self;
        anyhow::ensure!(
            low < high,
            "cache.low_percent ({low}) must be below cache.high_percent ({high}): eviction begins at the high \
             watermark and ends at the low one"
        );
        anyhow::ensure!(*high <= 100, "cache.high_percent ({high}) must be at most 100");
        if let Some(max) = max {
            anyhow::ensure!(
                min <= max,
                "cache.min_bytes ({min}) must not be above cache.max_bytes ({max}): eviction could not end"
            );
        }
        Ok(())
    }

    /// What will work, and probably not as meant, where the kubelet's `imageGCLowThresholdPercent` is `kubelet_low`.
    #[must_use]
    pub fn warnings(&self, kubelet_low: u8) -> Vec<String> {
        let high = self.high_percent;
        let late = (high > kubelet_low).then(|| {
            format!(
                "cache.high_percent ({high}) is above the kubelet's imageGCLowThresholdPercent ({kubelet_low}): the \
                 kubelet removes images, and may evict pods, before Peel evicts anything"
            )
        });
        late.into_iter().collect()
    }
}
