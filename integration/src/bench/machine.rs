//! The machine between two measurements: empty caches, nobody else at work.

use std::{fs, thread, time::Duration, time::Instant};

use anyhow::{Context as _, Result};

/// How long the processors are watched before a measurement.
const WATCH: Duration = Duration::from_millis(150);
/// The share of the processors' time that may be used by others: what an idle machine with a few daemons shows.
const IDLE_ENOUGH: f64 = 0.85;

/// Empties page cache, dentries and inodes.
///
/// # Errors
/// Without root.
pub(super) fn drop_caches() -> Result<()> {
    // What is dirty is not dropped.
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the page cache")
}

/// Waits until the machine is idle, `limit` at most. False when it did not become idle: measured all the same, and
/// counted, because a busy machine is no reason to wait for ever.
///
/// # Errors
/// When the kernel's accounting cannot be read.
pub(super) fn wait_until_idle(limit: Duration) -> Result<bool> {
    let started = Instant::now();
    loop {
        let before = Ticks::now()?;
        thread::sleep(WATCH);
        if Ticks::now()?.idle_since(&before) >= IDLE_ENOUGH {
            return Ok(true);
        }
        if started.elapsed() >= limit {
            return Ok(false);
        }
    }
}

/// What kind of machine it is, for the report.
pub(super) fn description() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!(
        "Linux {}, {cores} × {}, {} MiB of memory",
        read("/proc/sys/kernel/osrelease").trim(),
        model.map_or("an unnamed processor", |(_, name)| name),
        meminfo(&["MemTotal"]).unwrap_or_default() / 1024
    )
}

/// The sum of some lines of `/proc/meminfo`, in KiB.
///
/// # Errors
/// When one is missing.
pub(super) fn meminfo(names: &[&str]) -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    names.iter().map(|name| field(&text, name).with_context(|| format!("no {name} in meminfo"))).sum()
}

/// A number in a text of `name: number kB` lines, as in `/proc/<pid>/status`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The first line of `/proc/stat`: time of all processors since the start, in ticks.
struct Ticks {
    idle: u32,
    all: u32,
}

impl Ticks {
    fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        // Ticks wrap around here after a year; differences stay right.
        let ticks: Vec<u32> = fields.filter_map(|field| Some(low_half(field.parse().ok()?))).collect();
        // user nice system idle iowait irq softirq steal; what follows is contained in user.
        let idle = ticks.get(3).context("/proc/stat is not as it should be")?;
        let all = ticks.iter().take(8).fold(0u32, |sum, ticks| sum.wrapping_add(*ticks));
        Ok(Self { idle: *idle, all })
    }

    fn idle_since(&self, before: &Self) -> f64 {
        let all = self.all.wrapping_sub(before.all);
        if all == 0 { 1.0 } else { f64::from(self.idle.wrapping_sub(before.idle)) / f64::from(all) }
    }
}

fn low_half(ticks: u64) -> u32 {
    u32::try_from(ticks & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_whole_names() {
        let text = "RssAnonymous: 7 kB\nRssAnon:\t   42 kB\n";
        assert_eq!(field(text, "RssAnon"), Some(42));
        assert_eq!(field(text, "Rss"), None);
    }
}
