//! Everything at once: readers see right bytes or nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;

/// Ends the threads also when an assertion fails, so that the test fails and does not hang.
struct StopInTheEnd<'a>(&'a AtomicBool);

impl Drop for StopInTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_see_right_bytes_under_admission_eviction_sync_and_deletion() {
    let fixture = Fixture::new();
    let cache = fixture.open();
    let blob = some_blob(0);
    let layer = publish(&cache, &blob);
    let expected = content(&layer, &blob);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop_in_the_end = StopInTheEnd(&stop);
        for seed in 0..2 {
            let (layer, expected, stop) = (&layer, &expected, &stop);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                while !stop.load(Ordering::Relaxed) {
                    let start = random.random_range(0..expected.len());
                    let end = random.random_range(start..=expected.len());
                    if let Read::Whole(bytes) = layer.read(DataOffset(start as u64)..DataOffset(end as u64)) {
                        assert_eq!(*bytes, expected[start..end]);
                    }
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fill(&layer, &blob);
            }
        });
        let mut random = StdRng::seed_from_u64(9);
        for round in 0..150 {
            let some: Vec<_> = ids(&layer).filter(|_| random.random_bool(0.5)).collect();
            layer.evict(&some).unwrap();
            if round % 10 == 0 {
                // May meet a directory that is just being deleted or made: no reader hears of it.
                let _ = cache.sync();
            }
            if round % 40 == 39 {
                let _ = fs::remove_dir_all(fixture.dir.path().join("cache"));
            }
        }
    });
    fill(&layer, &blob);
    assert_eq!(whole(&layer).unwrap(), expected);
    assert_eq!(cache.stats().chunks_damaged, 0);
}
