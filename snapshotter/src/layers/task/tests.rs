use std::sync::atomic::{AtomicUsize, Ordering};

use super::{super::error::Cause, *};

const PATIENCE: Patience =
    Patience { silence: Duration::from_secs(60), total: Some(Duration::from_secs(90)) };

fn failure() -> GateError {
    GateError::new(Cause::Unavailable, "i", "l", "no")
}

#[tokio::test(start_paused = true)]
async fn one_work_for_many_waiters_and_none_of_them_stops_it() {
    let (tasks, runs) = (Tasks::<u8, u8>::default(), Arc::new(AtomicUsize::new(0)));
    let start = || {
        let runs = Arc::clone(&runs);
        tasks.start(&1, OnFailure::Restart, |_| async move {
            runs.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(7)
        })
    };
    let impatient = tokio::time::timeout(Duration::from_secs(1), start().outcome()).await;
    assert!(impatient.is_err());
    assert_eq!(start().wait(PATIENCE, &[]).await, Ok(Some(Ok(7))));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_and_total() {
    let tasks = Tasks::<u8, u8>::default();
    let silent = tasks.start(&1, OnFailure::Keep, |_| std::future::pending());
    assert_eq!(silent.wait(PATIENCE, &[]).await, Err(OutOfPatience::Silence(PATIENCE.silence)));
    let busy = tasks.start(&2, OnFailure::Keep, |progress| async move {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            progress.add(1);
        }
    });
    assert_eq!(busy.wait(PATIENCE, &[]).await, Err(OutOfPatience::Total(Duration::from_secs(90))));
    // Another layer's progress counts: the link is busy.
    let waited = silent.wait(PATIENCE, &[Arc::clone(busy.progress())]).await;
    assert_eq!(waited, Err(OutOfPatience::Total(Duration::from_secs(90))));
}

#[tokio::test]
async fn failures_stay_until_another_try_is_asked_for() {
    let tasks = Tasks::<u8, u8>::default();
    let outcome = tasks.start(&1, OnFailure::Keep, |_| async { Err(failure()) }).outcome().await;
    assert_eq!(outcome, Some(Err(failure())));
    assert_eq!(tasks.start(&1, OnFailure::Keep, |_| async { Ok(1) }).outcome().await, Some(Err(failure())));
    assert_eq!(tasks.start(&1, OnFailure::Restart, |_| async { Ok(1) }).outcome().await, Some(Ok(1)));
    tasks.forget(&1);
    assert!(tasks.get(&1).is_none());
}

#[tokio::test]
async fn a_panic_is_an_end_and_the_next_try_is_another_one() {
    let tasks = Tasks::<u8, u8>::default();
    let lost = tasks.start(&1, OnFailure::Keep, |_| async { panic!("in the work") });
    assert_eq!(lost.clone().outcome().await, None);
    assert!(matches!(lost.state(), State::Lost), "nobody takes it for one that is under way");
    assert_eq!(tasks.start(&1, OnFailure::Keep, |_| async { Ok(1) }).outcome().await, None);
    assert_eq!(tasks.start(&1, OnFailure::Restart, |_| async { Ok(1) }).outcome().await, Some(Ok(1)));
}
