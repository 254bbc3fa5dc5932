use peel_layer::{BlobOffset, DataOffset, LayerDigest};

use super::{work::RESENT, *};
use crate::{NodeId, Opcode};

fn work(unique: u64) -> Work {
    Work::new(unique, NodeId::from(77), Opcode::Read).of(4096, 4096)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A daemon begins at `time` and dies while it executes `works`.
fn life(memory: &OwnedFd, time: u64, works: &[Work]) -> usize {
    let page = Page::open(memory.as_fd()).expect("mapped");
    let condemned = page.judge(seconds(time)).len();
    works.iter().enumerate().for_each(|(slot, work)| page.set(slot, work));
    condemned
}

#[test]
fn three_deaths_of_one_request_condemn_it() {
    let memory = Marks::new_memory().expect("memfd");
    // Sent again, it is the same one.
    assert_eq!(life(&memory, 100, &[work(5), work(6)]), 0);
    assert_eq!(life(&memory, 110, &[work(5 | RESENT), work(8)]), 0);
    assert_eq!(life(&memory, 120, &[work(9), work(5 | RESENT)]), 0);
    let page = Page::open(memory.as_fd()).expect("mapped");
    assert_eq!(page.judge(seconds(121)), [(work(5), seconds(121) + SENTENCE)]);
    assert_eq!(life(&memory, 200, &[]), 1, "it stays condemned");
    assert_eq!(life(&memory, 121 + 601, &[]), 0, "but not for ever");
}

#[test]
fn a_busy_file_or_a_long_time_condemns_nobody() {
    let memory = Marks::new_memory().expect("memfd");
    for unique in 1..100 {
        assert_eq!(life(&memory, 100, &[work(unique)]), 0, "another request each time");
    }
    let memory = Marks::new_memory().expect("memfd");
    for time in [100, 150, 170, 220, 240] {
        assert_eq!(life(&memory, time, &[work(5)]), 0, "never three within a minute");
    }
}

#[test]
fn who_was_told_to_end_did_not_die() {
    let memory = Marks::new_memory().expect("memfd");
    for _ in 0..5 {
        assert_eq!(life(&memory, 100, &[work(5)]), 0);
        Page::open(memory.as_fd()).expect("mapped").end();
    }
}

#[test]
fn what_asks_for_the_same_is_refused() {
    let memory = Marks::new_memory().expect("memfd");
    for _ in 0..3 {
        life(&memory, now().as_secs(), &[work(5)]);
    }
    let marks = Marks::begin(memory).expect("mapped");
    assert!(marks.execute(work(1000)).is_none());
    let other = Work::new(1000, NodeId::from(77), Opcode::Read);
    assert!(marks.execute(other.of(0, 4097)).is_none(), "overlaps");
    assert!(marks.execute(other.of(8192, 4096)).is_some());
    assert!(marks.execute(Work::new(1000, NodeId::from(78), Opcode::Read).of(4096, 4096)).is_some());
    assert!(marks.execute(Work::new(1000, NodeId::from(77), Opcode::Getattr)).is_some());
}

#[test]
fn marks_go_with_their_guard() {
    let memory = Marks::new_memory().expect("memfd");
    let marks = Marks::begin(memory).expect("mapped");
    for _ in 0..5 {
        drop(marks.execute(work(5)));
        assert!(marks.0.page.judge(seconds(100)).is_empty());
    }
}

#[test]
fn work_on_layers_counts_like_a_request() {
    let memory = Marks::new_memory().expect("memfd");
    let layer = LayerDigest::of(b"layer");
    let bytes = |from, to| serve::Work::Bytes(layer, DataOffset(from)..DataOffset(to));
    let time = now().as_secs();
    for _ in 0..3 {
        life(&memory, time, &[bytes(4096, 8192).into(), serve::Work::Index(layer).into()]);
    }
    let marks = Marks::begin(memory).expect("mapped");
    let watch: &dyn Watch = &marks;
    assert!(watch.execute(bytes(8000, 9000)).is_none());
    assert!(watch.execute(serve::Work::Index(layer)).is_none());
    assert!(watch.execute(bytes(8192, 9000)).is_some());
    assert!(watch.execute(serve::Work::Index(LayerDigest::of(b"another"))).is_some());
}

#[test]
fn a_streamed_layer_is_judged_by_the_piece_that_it_never_came_past() {
    let layer = LayerDigest::of(b"layer");
    let inflate = |from, to| serve::Work::Inflate(layer, BlobOffset(from)..BlobOffset(to));
    let untar = |from, to| serve::Work::Untar(layer, from..to);
    let deaths = |deaths: &[&[serve::Work]]| {
        let memory = Marks::new_memory().expect("memfd");
        for works in deaths {
            let works: Vec<_> = works.iter().cloned().map(Work::from).collect();
            life(&memory, now().as_secs(), &works);
        }
        Marks::begin(memory).expect("mapped")
    };
    let whole = || inflate(0, u64::MAX);
    // Each time in the same piece, whatever the other thread was at.
    let marks = deaths(&[
        &[inflate(64, 128), untar(0, 64)],
        &[inflate(64, 128), untar(64, 128)],
        &[inflate(64, 128), untar(0, 64)],
    ]);
    let watch: &dyn Watch = &marks;
    assert!(watch.execute(inflate(64, 128)).is_none() && watch.execute(whole()).is_none());
    assert!(watch.execute(inflate(0, 64)).is_some() && watch.execute(inflate(128, 192)).is_some());
    assert!(watch.execute(untar(0, u64::MAX)).is_some(), "the other thread came further in between");
    let other = serve::Work::Inflate(LayerDigest::of(b"another"), BlobOffset(0)..BlobOffset(u64::MAX));
    assert!(watch.execute(other).is_some());
    // Killed three times in a piece by somebody else: in between it came past it.
    let past: [&[_]; 4] =
        [&[inflate(64, 128)], &[inflate(64, 128)], &[inflate(128, 192)], &[inflate(64, 128)]];
    let marks = deaths(&past);
    assert!(Watch::execute(&marks, whole()).is_some());
}

#[test]
fn more_at_a_time_than_there_is_place_for() {
    let marks = Marks::begin(Marks::new_memory().expect("memfd")).expect("mapped");
    for _ in 0..2 {
        let all: Vec<_> =
            (1..100).map(|unique| marks.execute(work(unique)).expect("not condemned")).collect();
        assert_eq!(all.iter().filter(|executing| executing.slot.is_some()).count(), page::SLOTS);
    }
}

#[test]
fn nonsense_is_begun_anew() {
    let memory = Marks::new_memory().expect("memfd");
    rustix::io::write(&memory, &[0xff; 4096]).expect("written");
    assert_eq!(life(&memory, 100, &[]), 0);
}
