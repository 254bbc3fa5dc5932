//! The threads that take a layer from one end to the other, and how they end together.

use std::sync::Arc;

use tokio::{runtime::Handle, task::JoinHandle};

use super::{StreamFailure, pipe::Pipe};

/// Starts them.
pub(super) struct Threads<H> {
    handle: Handle,
    pipe: Arc<Pipe>,
    /// What is theirs as long as one of them works.
    held: Arc<H>,
}

impl<H: Send + Sync + 'static> Threads<H> {
    pub(super) fn new(handle: &Handle, pipe: &Arc<Pipe>, held: H) -> Self {
        Self { handle: handle.clone(), pipe: Arc::clone(pipe), held: Arc::new(held) }
    }

    /// If `work` fails or panics, the others end too.
    pub(super) fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pipe) -> Result<Option<T>, StreamFailure> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let (pipe, held) = (Arc::clone(&self.pipe), Arc::clone(&self.held));
        self.handle.spawn_blocking(move || {
            let stop = StopOnDrop::new(&pipe);
            let outcome = work(&pipe);
            drop(held);
            match outcome {
                Ok(done) => {
                    stop.not_any_more();
                    done
                }
                Err(error) => {
                    pipe.fail(error);
                    None
                }
            }
        })
    }

    /// What they held, when all have ended.
    pub(super) fn held(self) -> Option<H> {
        Arc::into_inner(self.held)
    }
}

/// What the thread has made; nothing when it failed, panicked, or was ended by another's failure.
pub(super) async fn ended<T>(thread: JoinHandle<Option<T>>) -> Option<T> {
    thread.await.ok().flatten()
}

/// Tells the threads to end when one of them panics, or when nobody waits for them any more.
pub(super) struct StopOnDrop(Option<Arc<Pipe>>);

impl StopOnDrop {
    pub(super) fn new(pipe: &Arc<Pipe>) -> Self {
        Self(Some(Arc::clone(pipe)))
    }

    pub(super) fn not_any_more(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(pipe) = &self.0 {
            pipe.close();
        }
    }
}
