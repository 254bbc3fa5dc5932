//! Room for what cannot be served from memory: a layer that is streamed is written, or not there.
//!
//! Such a writer waits at the high watermark until eviction has made room, as long as it has something to evict. When a
//! round has taken all that may go, the disk is full of other data or of this very layer; the layer is then written all
//! the same, up to what the filesystem gives: so would an ordinary pull be, and refusing it helps nobody.

use std::{
    io,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{Gauge, Place, Urgency};
use crate::disk::BLOCK;

/// Longest wait for eviction. A round takes seconds on a slow disk; a pull in which nothing moves for 60 s is given up
/// by its owner, with a less helpful text.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A round that freed nothing new (blocks that it freed before do not show yet) is not asked for again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Rounds of eviction, for those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    count: u64,
    /// The last one took all that may go, and wanted more.
    exhausted: bool,
}

impl Rounds {
    fn count(&self) -> u64 {
        self.state.lock().count
    }
}

impl Gauge {
    /// Room for `bytes` that have to be written, to be held until they are; see the module's header.
    ///
    /// # Errors
    /// `StorageFull`: eviction goes on, and made no room in `patience`.
    pub(crate) fn wait_for_room(&self, bytes: u64, patience: Duration) -> io::Result<Place<'_>> {
        let deadline = Instant::now() + patience;
        let begin = self.rounds.count();
        loop {
            let seen = self.rounds.count();
            if let Some(place) = self.take(Urgency::Demand, bytes) {
                return Ok(place);
            }
            if self.is_stuck() || self.exhausted_since(begin) {
                return Ok(self.take_anyway(bytes));
            }
            self.press();
            if !self.wait_for_round(seen, deadline) {
                return Err(self.no_room(patience));
            }
        }
    }

    /// A round of eviction is over. `exhausted`: it took all that may go, and wanted more.
    pub(crate) fn round_ended(&self, exhausted: bool) {
        let mut state = self.rounds.state.lock();
        *state = State { count: state.count + 1, exhausted };
        self.rounds.ended.notify_all();
    }

    fn exhausted_since(&self, begin: u64) -> bool {
        let state = *self.rounds.state.lock();
        state.count > begin && state.exhausted
    }

    /// Waits for one beyond the first `seen`. Says whether there is time for another look.
    fn wait_for_round(&self, seen: u64, deadline: Instant) -> bool {
        let mut state = self.rounds.state.lock();
        while state.count == seen {
            if self.rounds.ended.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        drop(state);
        std::thread::sleep(PAUSE);
        true
    }

    fn take_anyway(&self, bytes: u64) -> Place<'_> {
        let bytes = bytes.next_multiple_of(BLOCK);
        self.reading.lock().let_in(bytes);
        Place { gauge: self, bytes }
    }

    fn no_room(&self, patience: Duration) -> io::Error {
        let percent = self.reading.lock().disk.percent();
        let seconds = patience.as_secs_f32();
        let high = self.limits().map_or(100, |limits| limits.high_percent);
        let message = format!(
            "the disk is full: {percent} % in use, cache.high_percent is {high}, and eviction made no room in {seconds} s"
        );
        io::Error::new(io::ErrorKind::StorageFull, message)
    }
}
