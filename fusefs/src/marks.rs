//! Which requests are being executed, where a successor can see it.
//!
//! A request that makes the daemon die (a bug, a damaged file that faults) is sent again to the next one, which dies
//! of it, too: one file would take the node down. So what is executed is marked in shared memory: requests by the
//! session threads, and, on threads of others, the work on a layer's bytes and its index ([`Watch`]).
//! The next daemon finds the marks of the dead one. What was being executed at [`DEATHS`] deaths within [`WINDOW`] is
//! condemned: for [`SENTENCE`] it, and what asks for the same, is answered EIO.
//!
//! A request that waits, for the network or in the kernel, is not being executed: it may outlive any number of
//! deaths. And it is the request that is counted, not its file: a file that is read all the time is being read at
//! many deaths of which it is not the cause. Bytes that are decoded are done only once. A layer that is streamed is
//! done piece by piece, each time from its beginning: what a daemon came past was not the death of the one before.
//!
//! The memory is some pages of a file that outlives the process, as the holder's, or on a disk.

mod page;
mod sys;
#[cfg(test)]
mod tests;
mod work;

use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use peel_layer::serve::{self, Watch};
use rustix::fs::MemfdFlags;

use self::page::Page;
pub(crate) use self::work::Work;

/// Deaths at which the same request was being executed, until it is condemned.
const DEATHS: u64 = 3;
/// Within this time.
const WINDOW: Duration = Duration::from_secs(60);
/// How long it stays so. The cause may go: another version, an index that was read again.
const SENTENCE: Duration = Duration::from_secs(600);

/// The marks of this process, and what those of earlier ones led to. Cheap to clone.
#[derive(Clone)]
pub struct Marks(Arc<Inner>);

struct Inner {
    memory: OwnedFd,
    page: Page,
    condemned: Vec<(Work, Duration)>,
    /// A bit for each place of the page that is in use.
    used: AtomicU64,
}

const _: () = assert!(page::SLOTS <= 64, "a bit each");

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks").field("condemned", &self.0.condemned).finish_non_exhaustive()
    }
}

impl Marks {
    /// Memory for the marks of this daemon and its successors.
    ///
    /// # Errors
    /// What `memfd_create(2)` says.
    pub fn new_memory() -> io::Result<OwnedFd> {
        Ok(rustix::fs::memfd_create("peel-marks", MemfdFlags::CLOEXEC)?)
    }

    /// Judges by the marks in `memory` that a dead predecessor left, and begins anew in it. The predecessor must be
    /// dead. Memory that says nothing sensible is begun anew.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn begin(memory: OwnedFd) -> io::Result<Self> {
        let page = Page::open(memory.as_fd())?;
        let condemned = page.judge(now());
        for (work, _) in &condemned {
            tracing::error!(?work, "this request was being executed whenever the daemon died; answered EIO");
        }
        Ok(Self(Arc::new(Inner { memory, page, condemned, used: AtomicU64::new(0) })))
    }

    /// What a successor begins with.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.0.memory.as_fd()
    }

    /// What is executed from now on is no sign of anything: the process ends because it was told to.
    pub fn end(&self) {
        self.0.page.end();
    }

    /// Marks `work` until the result is dropped; nothing if it is condemned.
    pub(crate) fn execute(&self, work: Work) -> Option<Executing> {
        let condemned = self.0.condemned.iter().any(|(other, until)| work.resembles(other) && now() < *until);
        if condemned {
            return None;
        }
        let slot = self.0.take_slot();
        if let Some(slot) = slot {
            self.0.page.set(slot, &work);
        }
        Some(Executing { marks: self.clone(), slot })
    }
}

impl Inner {
    /// A place that nobody uses, if there is one.
    fn take_slot(&self) -> Option<usize> {
        let mut used = self.used.load(Relaxed);
        loop {
            let free = (!used).trailing_zeros();
            let slot = usize::try_from(free).ok().filter(|slot| *slot < page::SLOTS)?;
            match self.used.compare_exchange_weak(used, used | (1 << free), Acquire, Relaxed) {
                Ok(_) => return Some(slot),
                Err(now) => used = now,
            }
        }
    }
}

impl Watch for Marks {
    fn execute(&self, work: serve::Work) -> Option<Box<dyn Send>> {
        let executing = Self::execute(self, Work::from(work))?;
        Some(Box::new(executing))
    }
}

/// A mark.
pub(crate) struct Executing {
    marks: Marks,
    slot: Option<usize>,
}

impl Drop for Executing {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        self.marks.0.page.clear(slot);
        self.marks.0.used.fetch_and(!(1 << slot), Release);
    }
}

/// Time since boot, the same for all processes.
fn now() -> Duration {
    Duration::from_secs(u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0))
}
