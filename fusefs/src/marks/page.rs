//! How the page is laid out: words of 64 bits.
//!
//! ```text
//!     0   magic and version
//!     1   1 once the process was told to end
//!     8   SLOTS × 8: what a thread executes, its number (0: nothing) written last
//!   520   SUSPECTS × 8: what was executed at a death, how often, first when; 0 or when it was condemned
//! ```

use std::{
    io,
    os::fd::BorrowedFd,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use super::{
    DEATHS, SENTENCE, WINDOW, Work,
    sys::{self, WORDS},
};

/// "peelmrk" and the version.
const MAGIC: u64 = u64::from_le_bytes(*b"peelmrk\x02");
const TOLD_TO_END: usize = 1;
const FIRST_SLOT: usize = 8;
/// Pieces of work at a time that have a place: session threads, and decoding, which is bounded by memory.
pub(super) const SLOTS: usize = 64;
const FIRST_SUSPECT: usize = FIRST_SLOT + SLOTS * STRIDE;
/// More than at two deaths, so that a suspect stays over those that it takes.
const SUSPECTS: usize = 160;
/// A cache line: threads do not slow each other down.
const STRIDE: usize = 8;

const _: () = assert!(FIRST_SUSPECT + SUSPECTS * STRIDE <= WORDS);

pub(super) struct Page(&'static [AtomicU64; WORDS]);

#[derive(Clone, Copy)]
struct Suspect {
    work: Work,
    deaths: u64,
    first: Duration,
    condemned: Option<Duration>,
}

impl Page {
    pub(super) fn open(memory: BorrowedFd<'_>) -> io::Result<Self> {
        let words = sys::map(memory)?;
        if words[0].load(Acquire) != MAGIC {
            words.iter().for_each(|word| word.store(0, Relaxed));
            words[0].store(MAGIC, Release);
        }
        Ok(Self(words))
    }

    pub(super) fn set(&self, slot: usize, work: &Work) {
        let words = self.row(FIRST_SLOT, slot);
        for (word, value) in words[1..].iter().zip([work.node, work.opcode, work.offset, work.length]) {
            word.store(value, Relaxed);
        }
        words[0].store(work.unique, Release);
    }

    pub(super) fn clear(&self, slot: usize) {
        self.row(FIRST_SLOT, slot)[0].store(0, Release);
    }

    pub(super) fn end(&self) {
        self.0[TOLD_TO_END].store(1, Release);
    }

    /// Counts a death, and clears the marks. Gives back what is condemned and until when.
    pub(super) fn judge(&self, now: Duration) -> Vec<(Work, Duration)> {
        let was_told = self.0[TOLD_TO_END].swap(0, Relaxed) != 0;
        let mut suspects: Vec<Suspect> = (0..SUSPECTS).filter_map(|place| self.suspect(place)).collect();
        suspects.retain(|suspect| match suspect.condemned {
            Some(since) => now < since + SENTENCE,
            None => now <= suspect.first + WINDOW,
        });
        for slot in 0..SLOTS {
            let executing = self.work(FIRST_SLOT, slot);
            self.clear(slot);
            let Some(work) = executing.filter(|_| !was_told) else { continue };
            suspects.retain(|suspect| suspect.condemned.is_some() || !work.has_passed(&suspect.work));
            match suspects.iter_mut().find(|suspect| suspect.work == work) {
                Some(suspect) => suspect.deaths += 1,
                None => suspects.insert(0, Suspect { work, deaths: 1, first: now, condemned: None }),
            }
        }
        for suspect in &mut suspects {
            if suspect.deaths >= DEATHS {
                suspect.condemned.get_or_insert(now);
            }
        }
        // Should there be too many, the oldest go.
        suspects.truncate(SUSPECTS);
        (0..SUSPECTS).for_each(|place| self.write_suspect(place, suspects.get(place)));
        let condemned = suspects.iter().filter_map(|it| Some((it.work, it.condemned? + SENTENCE)));
        condemned.collect()
    }

    fn row(&self, first: usize, index: usize) -> &[AtomicU64] {
        let start = first + index * STRIDE;
        &self.0[start..start + STRIDE]
    }

    fn work(&self, first: usize, index: usize) -> Option<Work> {
        let words = self.row(first, index);
        let unique = words[0].load(Acquire);
        let [node, opcode, offset, length] = [1, 2, 3, 4].map(|at: usize| words[at].load(Relaxed));
        (unique != 0).then_some(Work { unique, node, opcode, offset, length })
    }

    fn suspect(&self, place: usize) -> Option<Suspect> {
        let work = self.work(FIRST_SUSPECT, place)?;
        let [deaths, first, condemned] =
            [5, 6, 7].map(|at: usize| self.row(FIRST_SUSPECT, place)[at].load(Relaxed));
        let seconds = |seconds: u64| Duration::from_secs(seconds.min(u64::from(u32::MAX)));
        let condemned = (condemned != 0).then(|| seconds(condemned));
        Some(Suspect { work, deaths: deaths.min(DEATHS), first: seconds(first), condemned })
    }

    fn write_suspect(&self, place: usize, suspect: Option<&Suspect>) {
        let words = self.row(FIRST_SUSPECT, place);
        let values = suspect.map_or([0; STRIDE], |it| {
            let Work { unique, node, opcode, offset, length } = it.work;
            // Nobody is condemned in the second of the machine's start.
            let condemned = it.condemned.map_or(0, |since| since.as_secs().max(1));
            [unique, node, opcode, offset, length, it.deaths, it.first.as_secs(), condemned]
        });
        words.iter().zip(values).for_each(|(word, value)| word.store(value, Relaxed));
    }
}
