//! Whether something moves.
//!
//! A wait in the gate ends when nothing moved for `pull.timeout`, however long the whole takes: a big index over
//! a slow link is fine, a registry that stays silent is not.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// A count that grows while work gets on. Its unit does not matter, only that it changes.
#[derive(Debug, Default)]
pub struct Progress {
    count: AtomicU64,
    downloaded: AtomicU64,
    download: AtomicU64,
}

impl Progress {
    /// Something came: `amount` bytes, or one step.
    pub fn add(&self, amount: u64) {
        self.count.fetch_add(amount, Ordering::Relaxed);
    }

    /// Of `total` bytes to download, `done` are here; for whoever watches.
    pub fn download(&self, done: u64, total: u64) {
        self.downloaded.store(done, Ordering::Relaxed);
        self.download.store(total, Ordering::Relaxed);
    }

    /// Bytes that are here, and those to download in all; 0 where it is not known.
    #[must_use]
    pub fn downloaded(&self) -> (u64, u64) {
        (self.downloaded.load(Ordering::Relaxed), self.download.load(Ordering::Relaxed))
    }

    /// The count.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Watches a count for silence.
#[derive(Debug)]
pub struct Silence {
    last: u64,
    since: Instant,
    limit: Duration,
}

impl Silence {
    /// Starts now; over after `limit` without change.
    #[must_use]
    pub fn new(count: u64, limit: Duration) -> Self {
        Self { last: count, since: Instant::now(), limit }
    }

    /// Notes the present count; says whether the limit has passed since it last changed.
    pub fn is_over(&mut self, count: u64) -> bool {
        if count != self.last {
            (self.last, self.since) = (count, Instant::now());
        }
        self.since.elapsed() >= self.limit
    }

    /// How often to look: often enough that the limit is kept to a tenth.
    #[must_use]
    pub fn interval(&self) -> Duration {
        (self.limit / 10).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_measured_from_the_last_change() {
        let progress = Progress::default();
        let mut silence = Silence::new(progress.count(), Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!silence.is_over(progress.count()));
        progress.add(1);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!silence.is_over(progress.count()));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(silence.is_over(progress.count()));
    }
}
