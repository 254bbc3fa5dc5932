//! Decisions: when, how much, in which order, and who yields before.

use std::{io, path::Path, time::Duration};

use super::{
    limits::{Goal, HIGH},
    order::{Group, sort, take},
    *,
};
use crate::Config;

const GIB: u64 = 1 << 30;
/// 100 GiB, eviction from 80 % down to 75 %.
const LIMITS: Limits = Limits { high_percent: 80, low_percent: 75, max_bytes: None, min_bytes: 2 * GIB };

fn disk(available: u64) -> DiskUsage {
    DiskUsage { capacity: 100 * GIB, available }
}

/// Knows only what it is told.
fn gauge_with(limits: Limits) -> Gauge {
    let config = Config::new("/nowhere", "/nowhere").unwrap();
    let disk_usage = |_: &Path| Err(io::ErrorKind::Unsupported.into());
    Gauge::new(&Config { limits: Some(limits), disk_usage, ..config })
}

fn goal(wanted: u64, bytes: u64, limit: u64) -> Goal {
    Goal { wanted, bytes, limit }
}

#[test]
fn usage_is_the_kubelets() {
    assert_eq!(disk(20 * GIB).percent(), 80);
    assert_eq!(disk(20 * GIB - 1).percent(), 81, "not yet available is in use");
    assert_eq!(disk(0).percent(), 100);
    assert_eq!(DiskUsage::default().percent(), 100, "a filesystem without capacity is full");
    let this = DiskUsage::of(&std::env::temp_dir()).unwrap();
    assert!(this.capacity >= this.available && this.capacity > 0);
}

#[test]
fn begins_at_high_and_goes_down_to_low() {
    assert_eq!(LIMITS.goal(&disk(20 * GIB + 1), 50 * GIB, false), None);
    assert_eq!(LIMITS.goal(&disk(20 * GIB), 50 * GIB, false), Some(goal(5 * GIB, 5 * GIB, 48 * GIB)));
    assert_eq!(LIMITS.goal(&disk(0), 50 * GIB, false), Some(goal(25 * GIB, 25 * GIB, 48 * GIB)));
    // A reader's chunk found no room just below high.
    assert_eq!(LIMITS.goal(&disk(21 * GIB), 50 * GIB, true), Some(goal(4 * GIB, 4 * GIB, 48 * GIB)));
    // He may be late: nothing to do at low.
    assert_eq!(LIMITS.goal(&disk(25 * GIB), 50 * GIB, true), None);
}

#[test]
fn never_below_min_bytes() {
    assert_eq!(LIMITS.goal(&disk(0), 3 * GIB, false), Some(goal(25 * GIB, GIB, GIB)));
    assert_eq!(LIMITS.goal(&disk(0), GIB, false), Some(goal(25 * GIB, 0, 0)));
    assert_eq!(LIMITS.goal_at(&disk(0), 3 * GIB, 0), goal(100 * GIB, GIB, GIB));
}

#[test]
fn the_caches_own_limit_has_the_same_shape() {
    let limits = Limits { max_bytes: Some(16 * GIB), ..LIMITS };
    assert_eq!(limits.goal(&disk(90 * GIB), 16 * GIB - 1, false), None);
    assert_eq!(limits.goal(&disk(90 * GIB), 16 * GIB, false), Some(goal(GIB, GIB, 14 * GIB)));
    assert_eq!(limits.room(&disk(90 * GIB), 15 * GIB, HIGH), GIB);
    // Whichever asks for more.
    assert_eq!(limits.goal(&disk(20 * GIB), 16 * GIB, false).unwrap().wanted, 5 * GIB);
}

#[test]
fn the_later_somebody_yields_the_more_urgent_he_is() {
    let gauge = |available| {
        let gauge = gauge_with(LIMITS);
        gauge.measured(disk(available), 10 * GIB);
        gauge
    };
    // From 75 % (25 GiB available) to 80 %: background ends at 77.5, ahead at 78.75.
    for (available, admitted) in [
        (22 * GIB + GIB / 2 + 4096, [true, true, true]),
        (22 * GIB + GIB / 2, [true, true, false]),
        (21 * GIB + GIB / 4, [true, false, false]),
        (20 * GIB, [false, false, false]),
    ] {
        let found = Urgency::ALL.map(|urgency| gauge(available).has_room(urgency));
        assert_eq!(found, admitted, "{available}");
        // One block is left, or none.
        assert_eq!(
            Urgency::ALL.map(|urgency| gauge(available).admit(urgency, 1).is_some()),
            admitted,
            "{available}"
        );
    }
}

#[test]
fn what_was_let_in_counts_before_statfs_knows() {
    let limits = Limits { max_bytes: Some(20 * 4096), min_bytes: 0, ..LIMITS };
    let gauge = gauge_with(limits);
    gauge.measured(disk(90 * GIB), 18 * 4096);
    let place = gauge.admit(Urgency::Demand, 5000).expect("two blocks");
    assert!(gauge.admit(Urgency::Demand, 1).is_none());
    assert_eq!(gauge.yielded(Urgency::Demand), 1);
    // Still being written when the disk is looked at.
    gauge.measured(disk(90 * GIB), 18 * 4096);
    assert!(gauge.admit(Urgency::Demand, 1).is_none());
    drop(place);
    gauge.measured(disk(90 * GIB), 19 * 4096);
    assert!(gauge.admit(Urgency::Demand, 1).is_some());
}

#[test]
fn only_a_reader_without_room_presses_and_nobody_when_it_is_of_no_use() {
    let gauge = gauge_with(LIMITS);
    gauge.measured(disk(20 * GIB), 10 * GIB);
    assert!(gauge.admit(Urgency::Background, 1).is_none() && !gauge.take_pressed());
    assert!(gauge.admit(Urgency::Demand, 1).is_none());
    // Comes back at once, or this test takes an hour.
    gauge.wait_pressed(Duration::from_secs(3600));
    assert!(gauge.take_pressed() && !gauge.take_pressed());
    gauge.set_stuck(true);
    assert!(gauge.admit(Urgency::Demand, 1).is_none() && !gauge.take_pressed());
    gauge.set_stuck(false);
    gauge.disk_full();
    assert!(gauge.take_pressed());
    let unlimited = Gauge::default();
    unlimited.disk_full();
    assert!(unlimited.admit(Urgency::Background, u64::MAX / 2).is_some() && !unlimited.take_pressed());
}

#[test]
fn a_writer_waits_for_eviction_and_goes_on_when_nothing_is_left_to_evict() {
    let long = Duration::from_secs(3600);
    let full = || {
        let gauge = gauge_with(LIMITS);
        gauge.measured(disk(20 * GIB), 10 * GIB);
        gauge
    };
    // What happens at a round, and what becomes of who waits for it.
    let after = |round: fn(&Gauge)| {
        let gauge = full();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| gauge.wait_for_room(5000, long).is_ok());
            gauge.wait_pressed(long);
            assert!(gauge.take_pressed() && !writer.is_finished());
            round(&gauge);
            writer.join().unwrap()
        })
    };
    let makes_room = |gauge: &Gauge| {
        gauge.measured(disk(25 * GIB), 5 * GIB);
        gauge.round_ended(false);
    };
    assert!(after(makes_room));
    assert!(after(|gauge| gauge.round_ended(true)), "the disk has room, whoever filled it");
    let is_of_no_use = full();
    is_of_no_use.set_stuck(true);
    assert!(is_of_no_use.wait_for_room(1, Duration::ZERO).is_ok());
    // An earlier round says nothing of what may go now; and nobody evicts.
    let nobody = full();
    nobody.round_ended(true);
    let error = nobody.wait_for_room(1, Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("cache.high_percent is 80"), "{error}");
    // What is written counts, also past the mark.
    let gauge = full();
    gauge.set_stuck(true);
    let places: Vec<_> = (0..3).map(|_| gauge.wait_for_room(GIB, long).unwrap()).collect();
    gauge.measured(disk(22 * GIB), 10 * GIB);
    assert!(gauge.admit(Urgency::Demand, 1).is_none());
    drop(places);
}

const fn group(used: Use, epoch: u32, layer: usize, number: u32) -> Group {
    Group { used, epoch, layer, number, bytes: 10 }
}

#[test]
fn unreferenced_first_then_oldest_and_running_last() {
    let order = [
        group(Use::Unreferenced, 900, 3, 0),
        group(Use::Idle, 5, 1, 7),
        // Neighbours of one age stay together.
        group(Use::Idle, 6, 0, 1),
        group(Use::Idle, 6, 0, 2),
        group(Use::Idle, 6, 1, 1),
        group(Use::Running, 1, 2, 0),
        group(Use::Running, 2, 2, 9),
    ];
    let mut shuffled = [order[5], order[3], order[1], order[6], order[0], order[4], order[2]];
    sort(&mut shuffled);
    assert_eq!(shuffled, order);
}

#[test]
fn takes_until_it_is_enough_and_never_more_than_it_may() {
    let groups = [1, 2, 3, 4].map(|number| group(Use::Idle, 1, 0, number));
    let numbers = |goal, limit| -> (Vec<u32>, usize) {
        let mut left = groups.into_iter();
        let taken = take(&mut left, goal, limit);
        (taken.iter().map(|group| group.number).collect(), left.len())
    };
    assert_eq!(numbers(0, 40), (vec![], 4));
    assert_eq!(numbers(11, 40), (vec![1, 2], 2));
    assert_eq!(numbers(11, 19), (vec![1], 0), "the rest is too large for what may go");
    assert_eq!(numbers(100, 100), (vec![1, 2, 3, 4], 0));
}

#[test]
fn new_limits_hold_for_the_next_chunk() {
    let gauge = gauge_with(LIMITS);
    gauge.measured(disk(10 * GIB), 50 * GIB);
    assert!(!gauge.has_room(Urgency::Demand) && gauge.admit(Urgency::Demand, 1).is_none());
    gauge.set_stuck(true);
    gauge.set_limits(Limits { high_percent: 95, low_percent: 85, ..LIMITS });
    assert!(gauge.has_room(Urgency::Demand) && gauge.admit(Urgency::Demand, 1).is_some());
    assert!(!gauge.has_room(Urgency::Background), "90 % is above half-way");
    // Another round may find something to evict now.
    gauge.take_pressed();
    gauge.set_limits(LIMITS);
    assert!(gauge.admit(Urgency::Demand, 1).is_none() && gauge.take_pressed());
}
