//! How bytes are fetched for readers.

use std::time::Duration;

use serde::Deserialize;

/// How bytes are fetched for readers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// Longest wait of a READ; then the reader gets EIO. Below the kubelet's two minutes for CreateContainer.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Range requests under way at once for the readers of one layer.
    pub concurrency: usize,
    /// Longest time for one request to one source: one that hangs must leave time for the next.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Pause after all sources failed; doubles with each round.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
    /// Longest such pause: a registry that is back is noticed this soon.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Layers of up to so many compressed bytes are fetched whole, in one request, whatever their format.
    pub whole_layer_bytes: u64,
    /// Lazy layers are read whole in the background: what their images claim of them is proven then, and they need no
    /// registry any more.
    pub complete: bool,
    /// How long after a layer became readable that begins: a container's start comes first.
    #[serde(with = "humantime_serde")]
    pub complete_after: Duration,
}

impl Default for Fetch {
    fn default() -> Self {
        let defaults = peel_fetch::Config::default();
        Self {
            read_timeout: defaults.read_timeout,
            concurrency: defaults.demand_per_layer,
            request_timeout: defaults.request_timeout,
            backoff: defaults.backoff,
            backoff_max: defaults.backoff_max,
            whole_layer_bytes: 4 << 20,
            complete: true,
            complete_after: Duration::from_secs(30),
        }
    }
}

impl Fetch {
    /// As the fetcher takes it. No registry may ask it for a longer pause than `retry_after_max`.
    #[must_use]
    pub fn fetcher(&self, retry_after_max: Duration) -> peel_fetch::Config {
        peel_fetch::Config {
            read_timeout: self.read_timeout,
            demand_per_layer: self.concurrency,
            request_timeout: self.request_timeout,
            backoff: self.backoff,
            backoff_max: self.backoff_max,
            retry_after_max,
            ..peel_fetch::Config::default()
        }
    }

    /// How long a registry is waited for: a little less than [`Fetch::request_timeout`], so that its own error, which
    /// says what failed where, comes before "time is up".
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.request_timeout * 14 / 15
    }
}
