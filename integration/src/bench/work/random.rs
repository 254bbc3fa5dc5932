//! Reads at random places of the big file; the same places, in the same order, every time.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path, thread, time::Instant};

use anyhow::{Context as _, Result};
use rustix::fs::Advice;

use super::Done;
use crate::bench::image;

/// `count` reads of `size` bytes by `threads` threads, none twice. Costs are microseconds of wall time per read.
pub(super) fn reads(root: &Path, size: usize, count: u32, threads: usize) -> Result<Done> {
    let path = root.join(image::DIRECTORY).join(image::BIG);
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    // As a database would: read-ahead is useless here and would be measured instead of the reads.
    rustix::fs::fadvise(&file, 0, None, Advice::Random)?;
    let length = size as u64;
    let places: Vec<u64> =
        Shuffle::of(image::BIG_LENGTH / length).take(count as usize).map(|place| place * length).collect();
    let begin = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = places
            .chunks(places.len().div_ceil(threads))
            .map(|places| scope.spawn(|| read_at(&file, places, size)))
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a reader panicked"),
        })
    })
    .with_context(|| format!("reading {}", path.display()))?;
    let cost = begin.elapsed().as_secs_f64() * 1e6 / f64::from(count);
    Ok(Done { cost, items: count.into(), bytes: u64::from(count) * length })
}

fn read_at(file: &File, places: &[u64], size: usize) -> Result<()> {
    let mut buffer = vec![0; size];
    places.iter().try_for_each(|&place| Ok(file.read_exact_at(&mut buffer, place)?))
}

/// The numbers below a bound in a fixed random order (Fisher and Yates, xorshift64).
pub(super) struct Shuffle {
    order: Vec<u64>,
    state: u64,
}

impl Shuffle {
    pub(super) fn of(bound: u64) -> Self {
        Self { order: (0..bound).collect(), state: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl Iterator for Shuffle {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let left = self.order.len() as u64;
        let chosen = usize::try_from(self.state.checked_rem(left)?).ok()?;
        Some(self.order.swap_remove(chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_has_every_number_once_and_is_always_the_same() {
        let order: Vec<u64> = Shuffle::of(1000).collect();
        assert!(order.iter().copied().eq(Shuffle::of(1000)));
        assert_ne!(order[..10], (0..10).collect::<Vec<_>>());
        let mut sorted = order;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
    }
}
