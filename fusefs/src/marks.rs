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

use std::{
    fmt, io,
    ops::Range,
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

use peel_layer::{
    BlobOffset, DataOffset, LayerDigest,
    serve::{self, Watch},
};
use rustix::fs::MemfdFlags;

use self::page::Page;
use crate::{NodeId, Opcode};

/// Deaths at which the same request was being executed, until it is condemned.
const DEATHS: u64 = 3;
/// Within this time.
const WINDOW: Duration = Duration::from_secs(60);
/// How long it stays so. The cause may go: another version, an index that was read again.
const SENTENCE: Duration = Duration::from_secs(600);
/// Set in the number of a request that was sent again (`FUSE_UNIQUE_RESEND`).
const RESENT: u64 = 1 << 63;

/// What a thread executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    unique: u64,
    node: u64,
    opcode: u64,
    offset: u64,
    length: u64,
}

impl Work {
    pub(crate) fn new(unique: u64, node: NodeId, opcode: Opcode) -> Self {
        Self { unique: unique & !RESENT, node: node.get(), opcode: opcode as u64, offset: 0, length: 0 }
    }

    /// It reads these bytes.
    pub(crate) fn of(self, offset: u64, length: u32) -> Self {
        Self { offset, length: length.into(), ..self }
    }

    /// Whether this asks for what `other` asked for.
    fn resembles(&self, other: &Self) -> bool {
        let overlaps = self.offset < other.offset.saturating_add(other.length)
            && other.offset < self.offset.saturating_add(self.length);
        (self.node, self.opcode) == (other.node, other.opcode) && (self.length == 0 || overlaps)
    }

    /// Whether who does this has done `other` in the same life: a layer is streamed from its beginning.
    fn has_passed(&self, other: &Self) -> bool {
        let is_stream = matches!(self.opcode, INFLATE | UNTAR);
        is_stream && (self.node, self.opcode) == (other.node, other.opcode) && self.offset > other.offset
    }
}

/// In place of an opcode, which is below 100.
const INDEX: u64 = 100;
const BYTES: u64 = 101;
const INFLATE: u64 = 102;
const UNTAR: u64 = 103;

impl From<serve::Work> for Work {
    fn from(work: serve::Work) -> Self {
        // The layer's number is as much of its digest as fits. The same work has the same number in every daemon.
        let number = |layer: LayerDigest| {
            let [a, b, c, d, e, f, g, h, ..] = *layer.as_bytes();
            u64::from_le_bytes([a, b, c, d, e, f, g, h]) & !RESENT | 1
        };
        let (layer, opcode, offset, end) = match work {
            serve::Work::Index(layer) => (layer, INDEX, 0, 0),
            serve::Work::Bytes(layer, Range { start: DataOffset(start), end: DataOffset(end) }) => {
                (layer, BYTES, start, end)
            }
            serve::Work::Inflate(layer, Range { start: BlobOffset(start), end: BlobOffset(end) }) => {
                (layer, INFLATE, start, end)
            }
            serve::Work::Untar(layer, Range { start, end }) => (layer, UNTAR, start, end),
        };
        let length = end.saturating_sub(offset);
        Self { unique: number(layer), node: number(layer), opcode, offset, length }
    }
}

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
