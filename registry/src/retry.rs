//! When a failed request is made again: bounded attempts, exponential waits with jitter, the server's
//! `Retry-After` up to a cap, and never past the caller's deadline.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use rand::Rng as _;
use tokio::time::Instant;

use crate::error::{Context, ErrorKind, RegistryError};

/// How often and when.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Requests at most for one call, the first included. Five with these waits outlast a registry's
    /// rolling restart of some seconds.
    pub attempts: u32,
    /// Wait before the second attempt; doubles with each. Half of it is random, so that the nodes of a
    /// cluster do not come back in step.
    pub base: Duration,
    /// Longest own wait.
    pub max: Duration,
    /// Longest wait that a server may ask for with `Retry-After`. Whoever asks for more is asked again
    /// after this long; a pull would else hang on a server's mistake.
    pub max_retry_after: Duration,
    /// Bytes after which a body that breaks off is a new beginning: attempts are counted from there, or a
    /// blob of gigabytes would have no more attempts than one of a KiB.
    pub progress: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(250),
            max: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(30),
            progress: 1 << 20,
        }
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: RetryPolicy,
    deadline: Option<Instant>,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(policy: &RetryPolicy, deadline: Option<Instant>) -> Self {
        Self { policy: policy.clone(), deadline, failures: 0 }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A new beginning: see [`RetryPolicy::progress`].
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next attempt, or gives the error back when there must be none.
    pub(crate) async fn wait(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.failures += 1;
        if !error.retryable() || self.failures >= self.policy.attempts {
            return Err(error);
        }
        let delay = self.delay(error.retry_after(), rand::rng().random());
        if self.deadline.is_some_and(|deadline| Instant::now() + delay >= deadline) {
            return Err(error.with_note("no time left to ask again"));
        }
        tracing::debug!(%error, ?delay, "asking again");
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// `jitter` is uniform over 0..1.
    fn delay(&self, retry_after: Option<Duration>, jitter: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(20);
        let full = self.policy.base.saturating_mul(1 << doublings).min(self.policy.max);
        let own = full.mul_f64(0.5 + jitter / 2.0);
        own.max(retry_after.unwrap_or_default().min(self.policy.max_retry_after))
    }
}

/// Runs `attempt` until it succeeds, fails for good, or the deadline passes.
pub(crate) async fn run<T, F>(
    mut backoff: Backoff,
    context: &Context,
    mut on_retry: impl FnMut(),
    mut attempt: impl FnMut() -> F,
) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    let deadline = backoff.deadline();
    let attempts = async {
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => backoff.wait(error).await?,
            }
            on_retry();
        }
    };
    within(deadline, context, attempts).await
}

/// Ends `work` at the deadline.
pub(crate) async fn within<T>(
    deadline: Option<Instant>,
    context: &Context,
    work: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    match deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| {
            Err(RegistryError::new(context, ErrorKind::TimedOut, "the call's deadline passed"))
        }),
    }
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3).
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        // A date in the past means: now.
        Err(_) => httpdate::parse_http_date(value.trim())
            .ok()
            .map(|date| date.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
