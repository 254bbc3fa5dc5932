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
mod tests {
    use super::*;
    use crate::error::Operation;

    fn backoff(failures: u32) -> Backoff {
        Backoff { failures, ..Backoff::new(&RetryPolicy::default(), None) }
    }

    fn error(kind: ErrorKind) -> RegistryError {
        let context =
            Context { operation: Operation::BlobRead, repository: "a/b".into(), host: "h.example".into() };
        RegistryError::new(&context, kind, "")
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let policy = RetryPolicy::default();
        assert_eq!(backoff(1).delay(None, 1.0), policy.base);
        assert_eq!(backoff(1).delay(None, 0.0), policy.base / 2);
        assert_eq!(backoff(3).delay(None, 1.0), policy.base * 4);
        assert_eq!(backoff(u32::MAX).delay(None, 1.0), policy.max);
    }

    #[test]
    fn retry_after_is_honoured_up_to_its_cap() {
        let asked = |seconds| backoff(1).delay(Some(Duration::from_secs(seconds)), 0.5);
        assert_eq!(asked(7), Duration::from_secs(7));
        assert_eq!(asked(u64::MAX), RetryPolicy::default().max_retry_after);
        assert!(asked(0) >= RetryPolicy::default().base / 2);
    }

    #[test]
    fn retry_after_texts() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |text| parse_retry_after(text, now);
        assert_eq!(parse(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:30 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("-1"), None);
        assert_eq!(parse("99999999999999999999999"), None);
        assert_eq!(parse("soon"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_and_final_errors_are_final() {
        for (kind, expected) in [(ErrorKind::Unreachable, 5), (ErrorKind::NotFound, 1), (ErrorKind::Tls, 1)] {
            let mut count = 0;
            let failed = error(kind.clone());
            let result: Result<(), RegistryError> = run(
                backoff(0),
                &failed_context(),
                || {},
                || {
                    count += 1;
                    std::future::ready(Err(failed.clone()))
                },
            )
            .await;
            assert_eq!((result.expect_err("fails").kind(), count), (&kind, expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_goes_past_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut backoff = Backoff::new(&RetryPolicy::default(), Some(deadline));
        let slow = error(ErrorKind::TooManyRequests { retry_after: Some(Duration::from_secs(6)) });
        assert!(backoff.wait(slow).await.is_err());
        assert!(Instant::now() < deadline);
        let never = within::<()>(Some(deadline), &failed_context(), std::future::pending()).await;
        assert_eq!(never.expect_err("ends").kind(), &ErrorKind::TimedOut);
    }

    fn failed_context() -> Context {
        Context { operation: Operation::BlobRead, repository: "a/b".into(), host: "h.example".into() }
    }
}
