//! Whether session threads get on: what a watchdog looks at.
//!
//! Each thread counts when it begins and when it ends the work of a request, so its count is odd in between. Two looks
//! at the same odd count have seen the same request. A daemon must not find this out by asking its own mount: should
//! nobody answer, its process could not even be killed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Threads of a connection that have a place of their own; with more, two share one, and what one of them is stuck at
/// may be missed.
const SLOTS: usize = 16;

/// The counts, one a thread.
#[derive(Debug, Default)]
pub(crate) struct AtWork([AtomicU64; SLOTS]);

/// What a look saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look([u64; SLOTS]);

/// The calling thread's place. The threads of a connection begin together and get places one after the other, from
/// wherever those of the connection before it ended: a daemon may serve many.
fn own_slot() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Relaxed) % SLOTS;
    }
    OWN.with(|own| *own)
}

impl AtWork {
    /// The calling thread is at work until the result is dropped.
    pub(crate) fn begin(&self) -> impl Drop + '_ {
        struct End<'counts>(&'counts AtomicU64);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let count = &self.0[own_slot()];
        count.fetch_add(1, Relaxed);
        End(count)
    }

    pub(crate) fn look(&self) -> Look {
        Look(std::array::from_fn(|slot| self.0[slot].load(Relaxed)))
    }
}

impl Look {
    /// Threads that were at the same request at both looks.
    #[must_use]
    pub fn stuck_since(&self, earlier: &Self) -> usize {
        self.0.iter().zip(&earlier.0).filter(|(now, then)| now == then && **now % 2 == 1).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_at_two_looks() {
        let at_work = AtWork::default();
        let idle = at_work.look();
        assert_eq!(at_work.look().stuck_since(&idle), 0, "nothing to do");
        let first = at_work.begin();
        let busy = at_work.look();
        assert_eq!(busy.stuck_since(&idle), 0, "just begun");
        assert_eq!(at_work.look().stuck_since(&busy), 1, "still at it");
        drop(first);
        let _second = at_work.begin();
        assert_eq!(at_work.look().stuck_since(&busy), 0, "at another one");
    }

    #[test]
    fn threads_of_late_connections_are_seen_too() {
        for connection in 0..3 * SLOTS {
            let at_work = AtWork::default();
            let stuck = || {
                let _work = at_work.begin();
                at_work.look().stuck_since(&at_work.look())
            };
            let stuck = std::thread::scope(|scope| scope.spawn(stuck).join());
            assert_eq!(stuck.unwrap(), 1, "connection {connection}");
        }
    }
}
