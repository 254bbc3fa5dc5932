//! May this chunk still come? Filling yields before eviction has to begin.
//!
//! statfs is asked again after a few MiB or a quarter of a second; in between the bytes that were let in are counted.
//! So usage passes a mark by no more than what others write in that time, and what is in flight.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, RwLock};

use super::limits::{DiskUsage, HIGH, Limits, Quarters};
use crate::{Config, disk::BLOCK};

mod wait;

pub(crate) use wait::PATIENCE;

/// Why a chunk comes: decides who yields first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A reader waits for it. Stored up to the high watermark; finding no room there starts a round of eviction.
    Demand,
    /// Somebody will probably read it soon. Stored up to three quarters of the way from the low to the high watermark.
    Ahead,
    /// It completes an image. Stored up to half of that way: never what makes eviction begin.
    Background,
}

impl Urgency {
    /// All, the last to yield first.
    pub const ALL: [Self; 3] = [Self::Demand, Self::Ahead, Self::Background];

    fn mark(self) -> Quarters {
        match self {
            Self::Demand => HIGH,
            Self::Ahead => 3,
            Self::Background => 2,
        }
    }
}

/// Bytes that are let in before statfs is asked again.
const REFRESH_BYTES: u64 = 4 << 20;
/// Time before it is.
const REFRESH: Duration = Duration::from_millis(250);

/// Where the cache is, and how that is asked.
#[derive(Debug)]
struct Disk {
    path: PathBuf,
    usage: fn(&Path) -> io::Result<DiskUsage>,
}

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    limits: RwLock<Option<Limits>>,
    disk: Option<Disk>,
    reading: Mutex<Reading>,
    /// A reader's chunk found no room, and nobody has done something about it yet.
    pressed: Mutex<bool>,
    presses: Condvar,
    /// Pressing is of no use: there is nothing to evict.
    stuck: AtomicBool,
    rounds: wait::Rounds,
    yielded: [AtomicU64; 3],
}

#[derive(Debug, Default)]
struct Reading {
    at: Option<Instant>,
    disk: DiskUsage,
    /// Bytes written since `disk` was read.
    since: u64,
    /// Bytes let in and not written yet: the next look at the disk does not see them either.
    in_flight: u64,
    /// Bytes of disk that the cache takes, as last counted and added to.
    cached: u64,
}

/// Room for one chunk.
#[must_use]
#[derive(Debug)]
pub(crate) struct Place<'a> {
    gauge: &'a Gauge,
    bytes: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut reading = self.gauge.reading.lock();
            reading.in_flight = reading.in_flight.saturating_sub(self.bytes);
            reading.since += self.bytes;
        }
    }
}

impl Reading {
    fn room(&self, limits: &Limits, urgency: Urgency) -> u64 {
        let coming = self.since + self.in_flight;
        let cached = self.cached.saturating_sub(coming);
        limits.room(&self.disk, cached, urgency.mark()).saturating_sub(coming)
    }

    fn let_in(&mut self, bytes: u64) {
        self.in_flight += bytes;
        self.cached += bytes;
    }
}

impl Gauge {
    /// For the filesystem of the cache; without limits everything finds room.
    pub(crate) fn new(config: &Config) -> Self {
        let disk = Some(Disk { path: config.cache_dir.clone(), usage: config.disk_usage });
        Self { limits: RwLock::new(config.limits), disk, ..Self::default() }
    }

    /// Asks the filesystem.
    pub(crate) fn disk_usage(&self) -> io::Result<DiskUsage> {
        let disk = self.disk.as_ref().ok_or(io::ErrorKind::NotFound)?;
        // It may have been deleted by hand.
        let there = disk.path.ancestors().find(|dir| dir.exists()).unwrap_or(&disk.path);
        (disk.usage)(there)
    }

    pub(crate) fn limits(&self) -> Option<Limits> {
        *self.limits.read()
    }

    /// What holds from now on. Whether there is nothing to evict is another question then.
    pub(crate) fn set_limits(&self, limits: Limits) {
        *self.limits.write() = Some(limits);
        self.set_stuck(false);
    }

    /// Room for a chunk of `bytes`, to be held while it is written; nothing if there is none.
    pub(crate) fn admit(&self, urgency: Urgency, bytes: u64) -> Option<Place<'_>> {
        let place = self.take(urgency, bytes);
        if place.is_none() {
            self.yielded[urgency as usize].fetch_add(1, Ordering::Relaxed);
            if urgency == Urgency::Demand {
                self.press();
            }
        }
        place
    }

    fn take(&self, urgency: Urgency, bytes: u64) -> Option<Place<'_>> {
        let Some(limits) = self.limits() else { return Some(Place { gauge: self, bytes: 0 }) };
        let bytes = bytes.next_multiple_of(BLOCK);
        let admitted = {
            let mut reading = self.fresh();
            let admitted = reading.room(&limits, urgency) >= bytes;
            if admitted {
                reading.let_in(bytes);
            }
            admitted
        };
        // Not made in vain: its drop counts.
        admitted.then(|| Place { gauge: self, bytes })
    }

    /// Whether anything of this urgency would be stored. For those who could save themselves the fetch.
    pub(crate) fn has_room(&self, urgency: Urgency) -> bool {
        let Some(limits) = self.limits() else { return true };
        self.fresh().room(&limits, urgency) > 0
    }

    /// The reading, renewed if it is old. A filesystem that cannot be asked is taken for what it was last.
    fn fresh(&self) -> parking_lot::MutexGuard<'_, Reading> {
        let mut reading = self.reading.lock();
        let old = reading.at.is_none_or(|at| at.elapsed() >= REFRESH) || reading.since >= REFRESH_BYTES;
        if old && let Ok(disk) = self.disk_usage() {
            reading.disk = disk;
            reading.since = 0;
            reading.at = Some(Instant::now());
        }
        reading
    }

    /// What was counted just now.
    pub(crate) fn measured(&self, disk: DiskUsage, cached: u64) {
        let mut reading = self.reading.lock();
        let in_flight = reading.in_flight;
        *reading =
            Reading { at: Some(Instant::now()), disk, since: 0, in_flight, cached: cached + in_flight };
    }

    /// A write failed for want of space, whatever statfs says.
    pub(crate) fn disk_full(&self) {
        self.press();
    }

    fn press(&self) {
        if self.limits().is_some() && !self.is_stuck() {
            *self.pressed.lock() = true;
            self.presses.notify_all();
        }
    }

    /// Whether somebody pressed since the last call.
    pub(crate) fn take_pressed(&self) -> bool {
        std::mem::take(&mut *self.pressed.lock())
    }

    /// Waits until somebody presses, `limit` at most.
    pub(crate) fn wait_pressed(&self, limit: Duration) {
        let mut pressed = self.pressed.lock();
        if !*pressed {
            self.presses.wait_for(&mut pressed, limit);
        }
    }

    /// Whether a round has nothing to evict: until this changes, nobody can press.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Chunks that found no room, by [`Urgency`].
    pub(crate) fn yielded(&self, urgency: Urgency) -> u64 {
        self.yielded[urgency as usize].load(Ordering::Relaxed)
    }
}
