//! What the kernel says: requests become calls of the [`Forest`], outcomes become replies.
//!
//! Each handler counts, runs the call under `catch_unwind` and answers; a panic is that request's EIO and a log
//! line. What a panic may leave behind is nothing: the forest has no state of its own.
//!
//! What the kernel is told once it never asks again: ENOSYS for open and opendir (no request per open file, see
//! `init`), and for flush, fsync, lseek and poll.

mod dispatch;
mod refuse;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use fuser::{INodeNo, Request};

use crate::{
    Config, Counters, InitParameters, Opcode,
    drain::{Drain, Taken},
    failure::Failure,
    forest::Forest,
    marks::{Executing, Work},
};
use refuse::Refuse;

/// The protocol side of one connection.
pub(crate) struct Session {
    forest: Forest,
    counters: Arc<Counters>,
    drain: Arc<Drain>,
    config: Config,
    /// What a predecessor agreed with the kernel, and the kernel goes by.
    recorded: Option<InitParameters>,
    init: Arc<OnceLock<InitParameters>>,
}

impl Session {
    pub(crate) fn new(
        forest: Forest,
        counters: Arc<Counters>,
        config: Config,
        recorded: Option<InitParameters>,
    ) -> Self {
        Self { forest, counters, drain: Arc::default(), config, recorded, init: Arc::default() }
    }

    /// What is taken and not answered.
    pub(crate) fn drain(&self) -> Arc<Drain> {
        Arc::clone(&self.drain)
    }

    /// A request is taken until the result is dropped, which is to be after the reply.
    fn take(&self, opcode: Opcode) -> Taken<'_> {
        self.drain.take(&self.counters, opcode)
    }

    /// Filled by the handshake.
    pub(crate) fn init_parameters(&self) -> Arc<OnceLock<InitParameters>> {
        Arc::clone(&self.init)
    }

    fn agreed(&self, what: fn(&InitParameters) -> bool) -> bool {
        self.init.get().is_some_and(what)
    }

    /// Does the work of a request; `send` answers with what it gave, and a failure or panic answers as such.
    fn serve<R: Refuse, T>(
        &self,
        opcode: Opcode,
        (request, node): (&Request, INodeNo),
        mut reply: R,
        work: impl FnOnce(&Forest, &mut R) -> Result<T, Failure>,
        send: impl FnOnce(R, T),
    ) {
        let _taken = self.take(opcode);
        let mark = self.mark(Work::new(request.unique().0, node.0.into(), opcode));
        match mark.and_then(|_mark| self.guarded(opcode, || work(&self.forest, &mut reply))) {
            Ok(value) => send(reply, value),
            Err(failure) => {
                tracing::trace!(?opcode, %failure, "refused");
                reply.refuse(failure.errno());
            }
        }
    }

    /// Marks what is executed until the result is dropped.
    fn mark(&self, work: Work) -> Result<Option<Executing>, Failure> {
        match &self.config.marks {
            None => Ok(None),
            Some(marks) => marks.execute(work).map(Some).ok_or(Failure::Condemned),
        }
    }

    /// A request whose answer is always the same.
    fn refuse(&self, opcode: Opcode, reply: impl Refuse, failure: &Failure) {
        let _taken = self.take(opcode);
        reply.refuse(failure.errno());
    }

    fn guarded<T>(&self, opcode: Opcode, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let _at_work = self.counters.at_work.begin();
        let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            self.counters.panicked();
            tracing::error!(?opcode, "handler panicked; answered EIO");
            Err(Failure::Broken)
        });
        if let Err(failure @ Failure::Damaged(_)) = &outcome {
            tracing::error!(?opcode, %failure, "answered EUCLEAN");
        }
        outcome
    }
}
