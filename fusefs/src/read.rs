//! A READ on its way: asked by the kernel, answered once, by whichever thread has the bytes.
//!
//! The answer is whole or an error. A short one would be taken for the end of the file, and the page cache
//! would keep the zeros that fill it up.

use std::sync::Arc;

use fuser::ReplyData;
use peel_layer::VerifiedBytes;

use crate::{Counters, NodeId, drain::Open, failure::Failure};

/// Owns the kernel's request until it is answered. Dropped, for whatever reason, it answers EIO: nobody may wait
/// for ever.
pub(crate) struct PendingRead {
    reply: Option<ReplyData>,
    counters: Arc<Counters>,
    node: NodeId,
    // Last: it goes when the reply is sent.
    _open: Open,
}

impl PendingRead {
    pub(crate) fn new(reply: ReplyData, (counters, open): (&Arc<Counters>, Open), node: NodeId) -> Self {
        counters.read_started();
        Self { reply: Some(reply), counters: Arc::clone(counters), node, _open: open }
    }

    /// Answers with exactly `length` bytes. Takes verified bytes and nothing else.
    pub(crate) fn answer(mut self, length: usize, outcome: Result<VerifiedBytes, Failure>) {
        let outcome = outcome.and_then(|bytes| match bytes.len() == length {
            true => Ok(bytes),
            false => Err(Failure::WrongLength { expected: length, found: bytes.len() }),
        });
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Result<VerifiedBytes, Failure>) {
        let Some(reply) = self.reply.take() else { return };
        // Before the reply, so that who saw its answer also sees it counted.
        self.counters.read_ended(outcome.is_ok());
        match outcome {
            Ok(bytes) => reply.data(&bytes),
            Err(failure) => {
                tracing::debug!(node = self.node.get(), %failure, "read failed");
                reply.error(failure.errno());
            }
        }
    }
}

impl Drop for PendingRead {
    fn drop(&mut self) {
        self.settle(Err(Failure::Broken));
    }
}
