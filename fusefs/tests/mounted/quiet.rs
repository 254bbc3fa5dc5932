//! A warm container asks nothing.

use std::{fs, path::Path};

use peel_fusefs::{Opcode, Snapshot};

use crate::{
    fixture::{Builder, content, everything},
    harness::{Mounted, Overlay, within},
};

/// Lists, stats and reads all of a tree, and looks for what is not there. Gives the number of nodes.
fn walk(directory: &Path) -> usize {
    assert!(!directory.join("not there").exists());
    let mut nodes = 1;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            nodes += walk(&path);
            continue;
        }
        nodes += 1;
        if metadata.is_symlink() {
            fs::read_link(&path).unwrap();
        } else if metadata.is_file() {
            assert_eq!(fs::read(&path).unwrap().len() as u64, metadata.len());
        }
    }
    nodes
}

/// What the best of a few repetitions asks: something else on the machine may empty the kernel's caches.
fn repeat(mounted: &Mounted, mut again: impl FnMut()) -> Snapshot {
    let mut once = || {
        let before = mounted.counters();
        again();
        mounted.counters().since(&before)
    };
    let mut best = once();
    for _ in 0..4 {
        if best.requests.is_empty() {
            break;
        }
        best = once();
    }
    best
}

#[test]
fn a_second_walk_asks_nothing() {
    let mounted = Mounted::new();
    mounted.layers.add(1, everything());
    let tree = mounted.tree(1);
    let walk_all = || {
        let path = tree.at("");
        within("walking", move || walk(&path))
    };
    let nodes = walk_all();
    assert!(nodes > 20_000);
    assert_eq!(repeat(&mounted, || assert_eq!(walk_all(), nodes)).requests, [].into());
}

#[test]
fn nor_does_one_through_overlayfs() {
    let mounted = Mounted::new();
    mounted.layers.add(1, everything());
    let mut above = Builder::new();
    above.file("usr/bin/new", b"#!");
    above.whiteout("many/00000");
    mounted.layers.add(2, above.build());
    let overlay = Overlay::of(&[mounted.path().join("2"), mounted.path().join("1")]);
    let walk_all = || {
        let path = overlay.at("");
        within("walking", move || walk(&path))
    };
    let nodes = walk_all();
    let cold = mounted.counters();
    let warm = repeat(&mounted, || assert_eq!(walk_all(), nodes));
    assert_eq!(warm.requests, [].into(), "cold: {:?}", cold.requests);
}

#[test]
fn open_is_asked_once() {
    let mounted = Mounted::new();
    mounted.layers.add(1, everything());
    let root = mounted.path().join("1");
    within("walking", move || walk(&root));
    let counters = mounted.counters();
    for opcode in [Opcode::Open, Opcode::Opendir, Opcode::Flush] {
        assert!(counters.of(opcode) <= 1, "{opcode:?}: {}", counters.of(opcode));
    }
    for opcode in [Opcode::Release, Opcode::Releasedir, Opcode::Access] {
        assert_eq!(counters.of(opcode), 0, "{opcode:?}");
    }
    assert!(mounted.server.init_parameters().without_open());
}

#[test]
fn a_listing_brings_the_attributes_along() {
    let mounted = Mounted::new();
    mounted.layers.add(1, everything());
    let many = mounted.path().join("1/many");
    within("listing", move || {
        for entry in fs::read_dir(many).unwrap() {
            entry.unwrap().metadata().unwrap();
        }
    });
    let counters = mounted.counters();
    assert!(counters.of(Opcode::Lookup) < 100, "{:?}", counters.requests);
    assert!(counters.of(Opcode::Readdirplus) > 0);
}

#[test]
fn reading_on_asks_in_large_pieces() {
    let mounted = Mounted::new();
    assert_eq!(mounted.connection.read_ahead().unwrap(), 1024);
    let mut layer = Builder::new();
    let expected = content(5, 16 << 20);
    layer.file("large", &expected);
    mounted.layers.add(1, layer.build());
    let path = mounted.path().join("1/large");
    within("reading", move || assert!(fs::read(path).unwrap() == expected));
    let reads = mounted.counters().of(Opcode::Read);
    // 128 at the kernel's default. Read-ahead starts small and doubles.
    assert!(reads <= 24, "{reads} requests for 16 MiB");
}
