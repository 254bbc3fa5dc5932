//! The link between client and registry.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

/// How much unused time a link may catch up on. Sleeps end up to some milliseconds late; without this a single
/// connection would stay under the rate.
const CATCH_UP: Duration = Duration::from_millis(20);

/// A link's properties; the default is a loopback's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Time from the whole request to the first byte of its answer.
    pub first_byte: Duration,
    /// Bytes of bodies a second, over all connections; `None` is unlimited.
    pub bytes_per_second: Option<u64>,
}

impl Shape {
    /// A link of so many megabit a second and so much latency per request.
    #[must_use]
    pub const fn link(megabit_per_second: u64, first_byte: Duration) -> Self {
        Self { first_byte, bytes_per_second: Some(megabit_per_second * 125_000) }
    }
}

/// The bucket that all connections take from.
#[derive(Debug, Default)]
pub(super) struct Link {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    shape: Shape,
    /// When the wire is free again.
    free_at: Option<Instant>,
}

impl Link {
    pub(super) fn set(&self, shape: Shape) {
        *self.inner.lock() = Inner { shape, free_at: None };
    }

    pub(super) async fn latency(&self) {
        let wait = self.inner.lock().shape.first_byte;
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    /// Returns when `bytes` have gone over the wire.
    pub(super) async fn carry(&self, bytes: usize) {
        let done = self.reserve(bytes);
        if let Some(done) = done {
            sleep_until(done).await;
        }
    }

    fn reserve(&self, bytes: usize) -> Option<Instant> {
        let mut inner = self.inner.lock();
        let rate = inner.shape.bytes_per_second.filter(|rate| *rate > 0)?;
        let nanoseconds = u64::try_from(bytes).ok()?.saturating_mul(1_000_000_000) / rate;
        let now = Instant::now();
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        // Before first use the wire was idle, but an idle wire is no credit beyond the catch-up.
        let start = inner.free_at.map_or(now, |free| free.max(earliest));
        let done = start + Duration::from_nanos(nanoseconds);
        inner.free_at = Some(done);
        Some(done)
    }
}
