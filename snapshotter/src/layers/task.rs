//! Background work that belongs to a thing, not to a call.
//!
//! Many callers may wait for a layer; the work is started once, goes on when they go away, and its outcome stays
//! until somebody asks for another try. A cancelled or repeated Stat neither stops nor restarts it.

use std::{collections::HashMap, fmt, hash::Hash, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    error::GateError,
    progress::{Progress, Silence},
};

/// How far the work is.
#[derive(Debug, Clone)]
pub enum State<T> {
    /// Under way.
    Running,
    /// Done; this came of it.
    Done(T),
    /// Ended without.
    Failed(GateError),
}

/// One piece of work.
#[derive(Debug)]
pub struct Task<T> {
    state: watch::Receiver<State<T>>,
    progress: Arc<Progress>,
}

impl<T> Clone for Task<T> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), progress: Arc::clone(&self.progress) }
    }
}

/// How long to wait: [`Silence`] ends it, and optionally a limit in all.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest time in which nothing moves.
    pub silence: Duration,
    /// Longest time in all.
    pub total: Option<Duration>,
}

/// Why a wait ended without an outcome. The work goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfPatience {
    /// Nothing moved for so long.
    Silence(Duration),
    /// It took longer than this in all.
    Total(Duration),
}

impl fmt::Display for OutOfPatience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(limit) => write!(f, "nothing came for {} s", limit.as_secs_f32()),
            Self::Total(limit) => write!(f, "not readable after {} s", limit.as_secs_f32()),
        }
    }
}

impl<T: Clone> Task<T> {
    /// How far it is now.
    #[must_use]
    pub fn state(&self) -> State<T> {
        self.state.borrow().clone()
    }

    /// What moves while it gets on.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Its outcome, however long that takes. For work that waits for other work; callers use [`Task::wait`].
    ///
    /// # Errors
    /// What the work failed with.
    pub async fn outcome(mut self) -> Option<Result<T, GateError>> {
        match &*self.state.wait_for(|state| !matches!(state, State::Running)).await.ok()? {
            State::Running => None,
            State::Done(value) => Some(Ok(value.clone())),
            State::Failed(error) => Some(Err(error.clone())),
        }
    }

    /// Its outcome, within `patience`. `others` is progress that counts as well: work on other layers of the same
    /// image shares the link.
    ///
    /// # Errors
    /// [`OutOfPatience`]; the inner error is what the work failed with.
    pub async fn wait(
        &self,
        patience: Patience,
        others: &[Arc<Progress>],
    ) -> Result<Option<Result<T, GateError>>, OutOfPatience> {
        let count = || others.iter().chain([&self.progress]).map(|progress| progress.count()).sum();
        let mut silence = Silence::new(count(), patience.silence);
        let started = Instant::now();
        let outcome = self.clone().outcome();
        tokio::pin!(outcome);
        loop {
            match tokio::time::timeout(silence.interval(), &mut outcome).await {
                Ok(outcome) => return Ok(outcome),
                Err(_) if silence.is_over(count()) => return Err(OutOfPatience::Silence(patience.silence)),
                Err(_) => {
                    if let Some(total) = patience.total
                        && started.elapsed() >= total
                    {
                        return Err(OutOfPatience::Total(total));
                    }
                }
            }
        }
    }
}

/// The work on all things of a kind.
#[derive(Debug)]
pub struct Tasks<K, T>(Mutex<HashMap<K, Task<T>>>);

impl<K, T> Default for Tasks<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// What to do about work that failed earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Try once more.
    Restart,
    /// The old failure is the answer.
    Keep,
}

impl<K: Eq + Hash + Clone, T: Clone + Send + Sync + 'static> Tasks<K, T> {
    /// The work on `key`: what is under way or done, else `work`, started now.
    pub fn start<F>(&self, key: &K, on_failure: OnFailure, work: impl FnOnce(Arc<Progress>) -> F) -> Task<T>
    where
        F: Future<Output = Result<T, GateError>> + Send + 'static,
    {
        let mut tasks = self.0.lock();
        if let Some(task) = tasks.get(key)
            && !(on_failure == OnFailure::Restart && matches!(*task.state.borrow(), State::Failed(_)))
        {
            return task.clone();
        }
        let (sender, state) = watch::channel(State::Running);
        let progress = Arc::new(Progress::default());
        let work = work(Arc::clone(&progress));
        tokio::spawn(async move {
            let outcome = match work.await {
                Ok(value) => State::Done(value),
                Err(error) => State::Failed(error),
            };
            sender.send_replace(outcome);
        });
        let task = Task { state, progress };
        tasks.insert(key.clone(), task.clone());
        task
    }

    /// The work on `key`, if any was started.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Task<T>> {
        self.0.lock().get(key).cloned()
    }

    /// Forgets the work on `key`. What is under way ends, with nobody to tell.
    pub fn forget(&self, key: &K) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            tasks.start(&1, OnFailure::Keep, |_| async { Ok(1) }).outcome().await,
            Some(Err(failure()))
        );
        assert_eq!(tasks.start(&1, OnFailure::Restart, |_| async { Ok(1) }).outcome().await, Some(Ok(1)));
        tasks.forget(&1);
        assert!(tasks.get(&1).is_none());
    }
}
