//! How often the kernel asked for what.
//!
//! The numbers say whether a warm container is quiet (it must send no LOOKUP, GETATTR, READDIRPLUS or READ) and
//! feed metrics. Requests that the FUSE crate answers without asking us (INTERRUPT, STATX: both ENOSYS, after
//! which the kernel stops) are not seen here.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::at_work::{AtWork, Look};

macro_rules! opcodes {
    ($($name:ident),* $(,)?) => {
        /// A kind of request, named as in the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names are the protocol's own")]
        pub enum Opcode { $($name),* }

        impl Opcode {
            /// Every kind that is counted.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];
        }
    };
}

opcodes! {
    Lookup, Forget, Getattr, Readlink, Open, Read, Statfs, Getxattr, Listxattr, Flush, Opendir, Readdir,
    Readdirplus, Release, Releasedir, Fsync, Access, Lseek, Ioctl, Poll,
    // Everything that would change a tree.
    Change,
}

/// Counts since the server started.
#[derive(Debug, Default)]
pub struct Counters {
    requests: [AtomicU64; Opcode::ALL.len()],
    panics: AtomicU64,
    failed_reads: AtomicU64,
    pending_reads: AtomicU64,
    pub(crate) at_work: AtWork,
}

/// [`Counters`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests of each kind that occurred at all.
    pub requests: BTreeMap<Opcode, u64>,
    /// Handlers that panicked; each was answered EIO.
    pub panics: u64,
    /// READs answered with an error.
    pub failed_reads: u64,
    /// READs not answered yet (a gauge).
    pub pending_reads: u64,
}

impl Counters {
    pub(crate) fn count(&self, opcode: Opcode) {
        self.requests[opcode as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    pub(crate) fn read_started(&self) {
        self.pending_reads.fetch_add(1, Relaxed);
    }

    pub(crate) fn read_ended(&self, answered: bool) {
        self.pending_reads.fetch_sub(1, Relaxed);
        if !answered {
            self.failed_reads.fetch_add(1, Relaxed);
        }
    }

    /// What session threads are at, for a watchdog.
    #[must_use]
    pub fn look(&self) -> Look {
        self.at_work.look()
    }

    /// The numbers of now. They are read one after the other, not all at one instant.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let count = |opcode: Opcode| (opcode, self.requests[opcode as usize].load(Relaxed));
        Snapshot {
            requests: Opcode::ALL.into_iter().map(count).filter(|(_, n)| *n > 0).collect(),
            panics: self.panics.load(Relaxed),
            failed_reads: self.failed_reads.load(Relaxed),
            pending_reads: self.pending_reads.load(Relaxed),
        }
    }
}

impl Snapshot {
    /// Requests of one kind.
    #[must_use]
    pub fn of(&self, opcode: Opcode) -> u64 {
        self.requests.get(&opcode).copied().unwrap_or(0)
    }

    /// What was asked between `earlier` and this; gauges keep their value of now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let more = |(opcode, n): (&Opcode, &u64)| (*opcode, n.saturating_sub(earlier.of(*opcode)));
        Self {
            requests: self.requests.iter().map(more).filter(|(_, n)| *n > 0).collect(),
            panics: self.panics.saturating_sub(earlier.panics),
            failed_reads: self.failed_reads.saturating_sub(earlier.failed_reads),
            pending_reads: self.pending_reads,
        }
    }
}
