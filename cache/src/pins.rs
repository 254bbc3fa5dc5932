//! Readers announce themselves, so that a hole is never punched under one of them.
//!
//! A sparse file has no "missing" error: between looking at the chunk's bit and pread the chunk may be evicted,
//! and the reader gets zeros. So a reader takes a [`Pin`], *then* looks at the bit, then reads. Eviction clears
//! the bit first and then waits until every pin that may have seen it set is gone ([`Pins::wait`]).
//!
//! A pin covers all chunks of the layer, not some: two counters a layer, no memory per chunk, one atomic add per
//! read. New readers must not keep an eviction waiting for ever, hence two counters, used in turn: waiting means
//! to send new readers to the other counter and to watch the old one fall to zero, for both counters one after
//! the other. A reader that was sent to a counter long ago and increments it only now sees the cleared bit,
//! as all of these operations are sequentially consistent. [`crate::model`] checks this.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::sync::{AtomicUsize, Mutex, pause};

/// How many readers are between look and read.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    turn: AtomicUsize,
    readers: [AtomicUsize; 2],
    /// One waiter at a time turns.
    waiter: Mutex<()>,
}

/// While it lives, no chunk that was present after it was taken is punched.
#[must_use]
#[derive(Debug)]
pub(crate) struct Pin<'a>(&'a AtomicUsize);

impl Pins {
    pub(crate) fn pin(&self) -> Pin<'_> {
        let readers = &self.readers[self.turn.load(Ordering::SeqCst) & 1];
        readers.fetch_add(1, Ordering::SeqCst);
        Pin(readers)
    }

    /// Waits until everyone who pinned before the call is gone; at most `patience`. Says whether they are.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let _one = self.waiter.lock();
        let deadline = Instant::now() + patience;
        for _ in 0..2 {
            let old = self.turn.fetch_xor(1, Ordering::SeqCst) & 1;
            while self.readers[old].load(Ordering::SeqCst) != 0 {
                if Instant::now() >= deadline {
                    return false;
                }
                // A pread of cached pages takes microseconds, of a slow disk milliseconds.
                pause(Duration::from_micros(50));
            }
        }
        true
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
