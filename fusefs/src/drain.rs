//! Coming to rest: every request that was taken is answered, and no other is taken.
//!
//! Where the kernel cannot send requests again, what was taken and not answered ends with an error when the process
//! does. So a daemon that is told to end has its session threads stop first, each after the request that it is at;
//! what the kernel has queued, and what comes meanwhile, waits there for the successor. A thread that waits for a
//! request cannot be told anything: it is sent one, a `statfs` of our own, after whose answer it stops, too.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Counters, Opcode};

/// Short beside what a reply takes.
const STEP: Duration = Duration::from_millis(1);

/// What is taken of a connection.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    begun: AtomicBool,
    /// Requests that are not answered.
    open: AtomicUsize,
    /// Session threads that stopped.
    stopped: AtomicUsize,
}

/// A session thread is at a request. Dropped once it is answered, or left to others.
pub(crate) struct Taken<'drain> {
    drain: &'drain Drain,
    _open: Open,
}

/// A request is not answered yet.
pub(crate) struct Open(Arc<Drain>);

impl Drain {
    /// A session thread takes a request.
    pub(crate) fn take<'drain>(
        self: &'drain Arc<Self>,
        counters: &Counters,
        opcode: Opcode,
    ) -> Taken<'drain> {
        counters.count(opcode);
        Taken { drain: self, _open: self.open() }
    }

    /// The request will be answered later.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, SeqCst);
        Open(Arc::clone(self))
    }

    /// Stops all `threads`, whose connection is mounted at `mount_point`, and waits until all that they took is
    /// answered, `limit` at most. Gives the number of requests that are not answered then.
    pub(crate) fn run(self: &Arc<Self>, threads: usize, mount_point: &Path, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        self.begun.store(true, SeqCst);
        let (drain, path) = (Arc::clone(self), mount_point.to_owned());
        let wake = move || {
            // Once the last one has stopped, this waits in the kernel, like all others, and ends with the process.
            while drain.stopped.load(SeqCst) < threads && rustix::fs::statvfs(&path).is_ok() {}
        };
        if let Err(error) = thread::Builder::new().name("drain".to_owned()).spawn(wake) {
            tracing::warn!(%error, "session threads that have nothing to do cannot be stopped");
        }
        while Instant::now() < deadline {
            if self.stopped.load(SeqCst) >= threads && self.open.load(SeqCst) == 0 {
                return 0;
            }
            thread::sleep(STEP);
        }
        self.open.load(SeqCst)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.drain.begun.load(SeqCst) {
            self.drain.open.fetch_sub(1, SeqCst);
            self.drain.stopped.fetch_add(1, SeqCst);
            // For the rest of the process's life, which has milliseconds left.
            loop {
                thread::park();
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}
