//! Rounds of eviction over whole layers, on a filesystem that the test makes up.

use std::{
    collections::HashMap,
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

use super::*;
use crate::{DiskUsage, GcState, LayerUsers, Limits, Manual, Use};

mod random;

/// Of the made-up filesystem. A layer of [`some_blob`] takes 84 KiB.
const CAPACITY: u64 = 600 << 10;
const LIMITS: Limits = Limits { high_percent: 80, low_percent: 60, max_bytes: None, min_bytes: 0 };

/// In use: the blocks of all data files, and as many bytes as the file `foreign` beside the cache says.
fn disk_usage(cache: &Path) -> io::Result<DiskUsage> {
    let foreign = fs::read_to_string(cache.with_file_name("foreign")).unwrap_or_default();
    let mut used = foreign.parse().unwrap_or(0);
    for layer in fs::read_dir(cache)? {
        used += fs::metadata(layer?.path().join("data")).map_or(0, |data| data.blocks() * 512);
    }
    Ok(DiskUsage { capacity: CAPACITY, available: CAPACITY.saturating_sub(used) })
}

fn open(fixture: &Fixture, boot: u8, limits: Limits) -> Cache {
    // On a made-up filesystem nothing is pending.
    let (limits, pending) = (Some(limits), Duration::ZERO);
    let config = Config { limits, disk_usage, pending, group_bytes: 16 << 10, ..fixture.config(boot) };
    Cache::open(config).unwrap()
}

fn set_foreign(fixture: &Fixture, bytes: u64) {
    fs::write(fixture.dir.path().join("foreign"), bytes.to_string()).unwrap();
}

fn used(fixture: &Fixture) -> u64 {
    CAPACITY - disk_usage(&fixture.dir.path().join("cache")).unwrap().available
}

/// Who uses what, and what was released.
#[derive(Debug, Default)]
struct Users {
    uses: HashMap<IndexKey, Use>,
    released: Mutex<Vec<bool>>,
}

impl LayerUsers for Users {
    fn release(&self, at_once: bool) {
        self.released.lock().push(at_once);
    }

    fn uses(&self) -> Option<HashMap<IndexKey, Use>> {
        Some(self.uses.clone())
    }
}

/// Three full layers, read in the order of their numbers; the first is running, the second idle, nobody uses the third.
fn three(fixture: &Fixture, limits: Limits) -> (Cache, Vec<(Arc<Layer>, EStargz)>, Users) {
    set_foreign(fixture, 0);
    let cache = open(fixture, 1, Limits { high_percent: 100, ..limits });
    for seed in 0..3 {
        let blob = some_blob(seed);
        fill(&publish(&cache, &blob), &blob);
    }
    drop(cache);
    let cache = open(fixture, 1, limits);
    let layers: Vec<_> =
        (0..3).map(some_blob).map(|blob| (cache.layer(&key(&blob)).unwrap().unwrap(), blob)).collect();
    for (later, (layer, _)) in layers.iter().enumerate() {
        cache.advance(SystemTime::now() + Duration::from_secs(1000 + later as u64));
        whole(layer).unwrap();
    }
    let uses = [(layers[0].0.key(), Use::Running), (layers[1].0.key(), Use::Idle)].into();
    (cache, layers, Users { uses, ..Users::default() })
}

#[test]
fn down_to_the_low_watermark_in_order_and_no_further() {
    let fixture = Fixture::new();
    let (cache, layers, users) = three(&fixture, LIMITS);
    let full = used(&fixture);
    // Above low, below high: only what nobody references may go.
    set_foreign(&fixture, CAPACITY * 7 / 10 - full);
    let round = cache.collect(&users, None).unwrap();
    assert_eq!((round.wanted, round.freed), (0, 0));
    assert_eq!(*users.released.lock(), [true]);
    // At high.
    set_foreign(&fixture, CAPACITY * 8 / 10 - full);
    let round = cache.collect(&users, None).unwrap();
    assert_eq!(round.wanted, CAPACITY * 2 / 10);
    assert_eq!(round.state, GcState::Idle);
    let low = CAPACITY * 6 / 10;
    assert!(used(&fixture) <= low && used(&fixture) > low - (32 << 10), "{} of {low}", used(&fixture));
    assert!(present(&layers[2].0).is_empty(), "unreferenced, though it was read last");
    let idle = present(&layers[1].0).len();
    assert!(0 < idle && idle < ids(&layers[1].0).count(), "{idle}");
    assert_eq!(whole(&layers[0].0).unwrap(), content(&layers[0].0, &layers[0].1));
    // Idempotent.
    assert_eq!(cache.collect(&users, None).unwrap().evicted, []);
    let stats = cache.stats();
    assert_eq!((stats.rounds, stats.bytes_freed), (1, round.freed));
    assert_eq!(stats.freed_by_cause, [0, round.freed, 0, 0]);
    // The running layer was read again just now.
    assert_eq!(stats.oldest_access, layers[1].0.stats().oldest_access);
    assert!(stats.oldest_access < layers[0].0.stats().oldest_access);
    assert_eq!(stats.chunks_evicted, round.evicted.iter().map(|evicted| evicted.chunks).sum::<u64>());
}

#[test]
fn other_data_fill_the_disk() {
    let fixture = Fixture::new();
    let (cache, layers, users) = three(&fixture, Limits { min_bytes: 220 << 10, ..LIMITS });
    set_foreign(&fixture, CAPACITY - used(&fixture));
    let round = cache.collect(&users, None).unwrap();
    let GcState::Stuck(reason) = &round.state else { panic!("{round:?}") };
    assert!(reason.contains("min_bytes"), "{reason}");
    let (_, cached) = cache.measure().unwrap();
    assert!((220 << 10..250 << 10).contains(&cached), "{cached}");
    // No thrash: nothing more is evicted, nothing comes, and readers are told so at once.
    for _ in 0..3 {
        let (layer, blob) = &layers[2];
        let id = ids(layer).find(|id| !layer.has(*id)).unwrap();
        assert_eq!(layer.admit(id, &decoded(layer, blob, id)), crate::Admission::Refused);
        assert!(!cache.has_room(crate::Urgency::Demand));
        assert_eq!(cache.collect(&users, None).unwrap().evicted, []);
    }
    assert_eq!(cache.gc_state(), round.state);
    set_foreign(&fixture, 0);
    assert_eq!(cache.collect(&users, None).unwrap().state, GcState::Idle);
    let (layer, blob) = &layers[2];
    fill(layer, blob);
    assert_eq!(whole(layer).unwrap(), content(layer, blob));
}

#[test]
fn asked_for() {
    let fixture = Fixture::new();
    let (cache, layers, users) = three(&fixture, LIMITS);
    let ask = |to_percent, dry_run| cache.collect(&users, Some(Manual { to_percent, dry_run })).unwrap();
    let before = used(&fixture);
    let plan = ask(Some(10), true);
    assert!(users.released.lock().is_empty(), "a dry run does nothing");
    assert_eq!(used(&fixture), before);
    let done = ask(Some(10), false);
    assert_eq!(*users.released.lock(), [true]);
    let summary = |round: &crate::Round| {
        round.evicted.iter().map(|evicted| (evicted.key, evicted.chunks)).collect::<Vec<_>>()
    };
    assert_eq!((plan.wanted, summary(&plan)), (done.wanted, summary(&done)));
    assert!(used(&fixture) <= CAPACITY / 10);
    // By name: who uses it does not matter.
    let left = present(&layers[0].0).len() as u64;
    assert!(left > 0);
    assert_eq!(cache.evict(&layers[0].0.key()).unwrap().unwrap().chunks, left);
    assert!(present(&layers[0].0).is_empty());
    assert_eq!(used(&fixture), 0);
    let stats = cache.stats();
    assert_eq!((stats.freed_by_cause, stats.oldest_access), ([0, 0, 0, before], None));
}

#[test]
fn its_own_limit() {
    let fixture = Fixture::new();
    drop(three(&fixture, LIMITS));
    let cache = open(&fixture, 1, Limits { max_bytes: Some(100 << 10), ..LIMITS });
    let round = cache.collect(&Users::default(), None).unwrap();
    assert!(round.freed > 0 && used(&fixture) <= 100 << 10);
    assert_eq!(cache.stats().freed_by_cause, [0, 0, round.freed, 0]);
}

#[test]
fn blocks_that_no_map_knows_are_freed() {
    use std::os::unix::fs::FileExt as _;
    let fixture = Fixture::new();
    let cache = open(&fixture, 1, LIMITS);
    let blob = blob(&[("big", vec![7; 3 << 20]), ("small", vec![1; 5000])]);
    let layer = publish(&cache, &blob);
    let last = ids(&layer).last().unwrap();
    layer.admit(last, &decoded(&layer, &blob, last));
    // As a process leaves it that dies between a chunk and its bit.
    let data = fs::File::options().write(true).open(fixture.only("cache").join("data")).unwrap();
    data.write_all_at(&vec![9; 3 << 20], 0).unwrap();
    drop(data);
    let uses = [(layer.key(), Use::Running)].into();
    let round = cache.collect(&Users { uses, ..Users::default() }, None).unwrap();
    assert!(round.freed >= 3 << 20, "{round:?}");
    assert!(layer.has(last), "what is known stays");
}

#[test]
fn recency_outlives_the_process() {
    let fixture = Fixture::new();
    let (cache, layers, users) = three(&fixture, LIMITS);
    let names: Vec<_> = layers.iter().map(|(layer, _)| layer.key()).collect();
    cache.sync().unwrap();
    drop((layers, cache));
    let cache = open(&fixture, 1, LIMITS);
    cache.advance(SystemTime::now() + Duration::from_secs(2000));
    // Everything idle: the one that was read first goes first.
    let uses = names.iter().map(|key| (*key, Use::Idle)).collect();
    let users = Users { uses, ..users };
    set_foreign(&fixture, CAPACITY * 8 / 10 - used(&fixture));
    cache.collect(&users, None).unwrap();
    let left: Vec<_> = names.iter().map(|key| present(&cache.layer(key).unwrap().unwrap()).len()).collect();
    assert!(left[0] < left[1] && left[1] <= left[2], "{left:?}");
}
