//! Background work that belongs to a thing, not to a call.
//!
//! Many callers may wait for a layer; the work is started once, goes on when they go away, and its outcome stays
//! until somebody asks for another try. A cancelled or repeated Stat neither stops nor restarts it.

use std::{collections::HashMap, fmt, hash::Hash, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    error::GateError,
    progress::{Progress, Silence},
};

/// What people are told of [`State::Lost`].
pub(super) const LOST: &str = "it panicked; see the daemon's log";

/// How far the work is.
#[derive(Debug, Clone)]
pub enum State<T> {
    /// Under way.
    Running,
    /// Done; this came of it.
    Done(T),
    /// Ended without.
    Failed(GateError),
    /// Panicked; the log has it.
    Lost,
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

    /// Its outcome, however long that takes, or nothing if it was lost. For work that waits for other work; callers
    /// use [`Task::wait`].
    ///
    /// # Errors
    /// What the work failed with.
    pub async fn outcome(mut self) -> Option<Result<T, GateError>> {
        match &*self.state.wait_for(|state| !matches!(state, State::Running)).await.ok()? {
            State::Running | State::Lost => None,
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
            && !(on_failure == OnFailure::Restart
                && matches!(*task.state.borrow(), State::Failed(_) | State::Lost))
        {
            return task.clone();
        }
        let (sender, state) = watch::channel(State::Running);
        let progress = Arc::new(Progress::default());
        let work = work(Arc::clone(&progress));
        tokio::spawn(async move {
            // Said, too, or it would count as running for ever: nobody could start it again, and nothing give it back.
            let outcome = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(Ok(value)) => State::Done(value),
                Ok(Err(error)) => State::Failed(error),
                Err(_) => State::Lost,
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
mod tests;
