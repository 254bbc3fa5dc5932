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
