//! Blocks that were freed and do not show in statfs yet. Pure.
//!
//! XFS and btrfs free in the background, and the blocks of a removed file that somebody has open go when he closes it.
//! A round that looked at statfs alone would evict a second time for the same bytes.
//!
//! Own fills and evictions leave the sum of available and cached bytes alone: what one gains the other loses. Freed
//! blocks that are still pending are missing in that sum. So are blocks that others wrote meanwhile; they are taken for
//! pending until patience ends ([`crate::Config::pending`]).

use std::time::Instant;

/// What the last rounds freed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// Available and cached bytes together, before.
    sum: u64,
    freed: u64,
    until: Instant,
}

impl Pending {
    /// After a round that freed `freed` bytes, which are waited for `until` then; `sum` was available and cached together before it, with what was pending
    /// from earlier rounds.
    pub(super) fn new(sum: u64, freed: u64, until: Instant) -> Self {
        Self { sum, freed, until }
    }

    /// Bytes that will be available soon. `sum` is available and cached together now.
    pub(super) fn credit(&self, sum: u64, now: Instant) -> u64 {
        if now < self.until { self.sum.saturating_sub(sum).min(self.freed) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn freed_blocks_count_until_they_show_or_patience_ends() {
        let soon = Instant::now();
        let until = soon + Duration::from_secs(1);
        // 100 available and 50 cached; 30 of those were freed.
        let pending = Pending::new(150, 30, until);
        for (available, cached, credit) in [
            (100, 20, 30),
            (120, 20, 10),
            (130, 20, 0),
            // Own fills meanwhile do not count as pending.
            (125, 25, 0),
            // Others' writes do, but never for more than was freed.
            (90, 20, 30),
            // Others gave space back.
            (500, 20, 0),
        ] {
            assert_eq!(pending.credit(available + cached, soon), credit, "{available} {cached}");
        }
        assert_eq!(pending.credit(120, until), 0);
    }
}
