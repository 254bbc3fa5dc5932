//! How full is too full, and how much has to go. Pure.

use std::{io, path::Path};

/// A filesystem as the kubelet sees it: capacity and available bytes, what root alone may use not among them
/// (contract §4.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes in all.
    pub capacity: u64,
    /// Bytes that a user may still write.
    pub available: u64,
}

impl DiskUsage {
    /// Of the filesystem that `path` is on.
    ///
    /// # Errors
    /// statfs failed.
    pub fn of(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Self { capacity: stat.f_blocks * stat.f_frsize, available: stat.f_bavail * stat.f_frsize })
    }

    /// Percent in use, rounded up: 100 − available/capacity.
    #[must_use]
    pub fn percent(&self) -> u8 {
        let free = (u128::from(self.available) * 100).checked_div(u128::from(self.capacity)).unwrap_or(0);
        u8::try_from(100_u128.saturating_sub(free)).unwrap_or(100)
    }

    /// Bytes that must be available for the usage to be `permille`.
    fn available_at(&self, permille: u32) -> u64 {
        let free = 1000_u128.saturating_sub(u128::from(permille));
        u64::try_from(u128::from(self.capacity) * free / 1000).unwrap_or(u64::MAX)
    }

    /// Bytes that have to go until the usage is `permille`.
    fn excess(&self, permille: u32) -> u64 {
        self.available_at(permille).saturating_sub(self.available)
    }

    /// Bytes that may come until the usage is `permille`.
    fn room(&self, permille: u32) -> u64 {
        self.available.saturating_sub(self.available_at(permille))
    }
}

/// The watermarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Usage at which eviction begins.
    pub high_percent: u8,
    /// Usage at which it ends.
    pub low_percent: u8,
    /// The cache's own limit in bytes of disk: eviction begins at it and ends at `low_percent`/`high_percent` of it.
    pub max_bytes: Option<u64>,
    /// Bytes of disk that eviction leaves the cache, whoever fills the disk.
    pub min_bytes: u64,
}

/// How far from the low watermark (0) to the high one (4) something may go.
pub(crate) type Quarters = u32;
/// The high watermark itself.
pub(crate) const HIGH: Quarters = 4;

/// How much one round has to free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Goal {
    /// Bytes over the mark.
    pub(crate) wanted: u64,
    /// Of those, what the cache may give.
    pub(crate) bytes: u64,
    /// The most that may go: evicting is done by groups, and the last one may be more than is needed.
    pub(crate) limit: u64,
}

impl Limits {
    /// Bytes that may still be written: by the filesystem's usage and by the cache's own size.
    pub(crate) fn room(&self, disk: &DiskUsage, cached: u64, mark: Quarters) -> u64 {
        let own = self.max_at(mark).map_or(u64::MAX, |max| max.saturating_sub(cached));
        disk.room(self.permille(mark)).min(own)
    }

    /// Usage is above the low watermark.
    pub(crate) fn above_low(&self, disk: &DiskUsage, cached: u64) -> bool {
        self.excess(disk, cached, 0) > 0
    }

    /// The goal of a round that is due by itself; nothing if none is. `pressed`: a reader's chunk found no room.
    pub(crate) fn goal(&self, disk: &DiskUsage, cached: u64, pressed: bool) -> Option<Goal> {
        let due = pressed || self.room(disk, cached, HIGH) == 0;
        let wanted = if due { self.excess(disk, cached, 0) } else { 0 };
        (wanted > 0).then(|| self.capped(wanted, cached))
    }

    /// The goal of a round down to a usage of `percent` of the filesystem, which somebody asked for.
    pub(crate) fn goal_at(&self, disk: &DiskUsage, cached: u64, percent: u8) -> Goal {
        self.capped(disk.excess(u32::from(percent) * 10), cached)
    }

    /// The cache's own limit asks for more than the filesystem does.
    pub(crate) fn is_own(&self, disk: &DiskUsage, cached: u64) -> bool {
        self.excess(disk, cached, 0) > disk.excess(self.permille(0))
    }

    fn capped(&self, wanted: u64, cached: u64) -> Goal {
        let limit = cached.saturating_sub(self.min_bytes);
        Goal { wanted, bytes: wanted.min(limit), limit }
    }

    fn excess(&self, disk: &DiskUsage, cached: u64, mark: Quarters) -> u64 {
        let own = self.max_at(mark).map_or(0, |max| cached.saturating_sub(max));
        disk.excess(self.permille(mark)).max(own)
    }

    fn permille(&self, mark: Quarters) -> u32 {
        let (low, high) = (u32::from(self.low_percent) * 10, u32::from(self.high_percent) * 10);
        low + high.saturating_sub(low) * mark.min(HIGH) / HIGH
    }

    /// `max_bytes` as usage has it: whole at the high watermark, in proportion below.
    fn max_at(&self, mark: Quarters) -> Option<u64> {
        let high = u128::from(self.permille(HIGH)).max(1);
        let share = |max: u64| u128::from(max) * u128::from(self.permille(mark)) / high;
        self.max_bytes.map(|max| u64::try_from(share(max)).unwrap_or(max))
    }
}
