//! The result: a table for people, JSON for programs.

use std::fmt;

use serde::Serialize;

use peel_integration::node::Start;

/// All starts of one run. The field names are the keys of `report.json`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Report {
    /// Bytes of the image's layers as they travel (compressed).
    pub(crate) image_bytes: u64,
    /// overlayfs, nothing there before.
    pub(crate) overlayfs: Start,
    /// overlayfs, a second container of the image.
    pub(crate) overlayfs_warm: Start,
    /// Peel, nothing there before.
    pub(crate) peel_cold: Start,
    /// Peel, a second container of the image.
    pub(crate) peel_warm: Start,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<16} {:>8} {:>8} {:>24}", "start", "pull", "ready", "fetched")?;
        let starts = [
            ("overlayfs, cold", &self.overlayfs),
            ("Peel, cold", &self.peel_cold),
            ("overlayfs, warm", &self.overlayfs_warm),
            ("Peel, warm", &self.peel_warm),
        ];
        for (name, start) in starts {
            let fetched = format!("{} of {} MB", megabytes(start.fetched_bytes), megabytes(self.image_bytes));
            writeln!(
                out,
                "{name:<16} {:>6.2} s {:>6.2} s {fetched:>24}",
                start.pull_seconds, start.ready_seconds
            )?;
        }
        Ok(())
    }
}

/// With one decimal, rounded down.
fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}
