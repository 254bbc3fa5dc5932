//! The file itself: what is kept, what is refused, and what damage does.

#![expect(clippy::unwrap_used, reason = "tests")]

mod full;
mod kept;

use std::fs;

use peel_proto::peel::metadata::v1 as stored;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;

/// As a table of the layers' owner.
const EXTRA: Table<u32, RemoteSnapshot> = Table::new("extra");

fn record(store: &Metastore, key: &str, parent: Option<&str>) -> SnapshotRecord {
    let now = Timestamp(1_700_000_000_123_456_789);
    SnapshotRecord {
        key: key.to_owned(),
        id: store.allocate_id(),
        parent: parent.map(str::to_owned),
        kind: Kind::Committed,
        created: now,
        updated: now,
        labels: Labels::from([("label".to_owned(), "value".to_owned())]),
        usage: Some(Usage { bytes: 4096, inodes: 1 }),
        remote: None,
    }
}

fn insert(store: &Metastore, record: &SnapshotRecord) {
    store.write(|tx| tx.insert_snapshot(record)).unwrap();
}

fn fill(store: &Metastore) -> Vec<SnapshotRecord> {
    let base = record(store, "k8s.io/1/sha256:aa", None);
    let remote = RemoteSnapshot {
        chain_id: format!("sha256:{}", "ab".repeat(32)),
        diff_id: format!("sha256:{}", "cd".repeat(32)),
        image_ref: "registry.example/app:1".into(),
        slot: Some(7),
        ..Default::default()
    };
    let upper =
        SnapshotRecord { remote: Some(remote), usage: None, ..record(store, "peel/00", Some(&base.key)) };
    let (kind, usage) = (Kind::Active, None);
    let active = SnapshotRecord { kind, usage, ..record(store, "k8s.io/2/container", Some(&upper.key)) };
    let all = vec![base, upper, active];
    all.iter().for_each(|record| insert(store, record));
    all
}

fn all(store: &Metastore) -> Result<Vec<SnapshotRecord>, MetastoreError> {
    store.snapshot()?.snapshots_after(None, 1000)
}

#[test]
fn records_survive() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metadata.redb");
    let mut expected = fill(&Metastore::open(&file).unwrap());
    let store = Metastore::open(&file).unwrap();
    let chain = store.read(|tx| tx.ancestors(&expected[2])).unwrap();
    assert_eq!(chain, [expected[1].clone(), expected[0].clone()]);
    expected.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(all(&store).unwrap(), expected);
    assert!(store.allocate_id() > expected.iter().map(|record| record.id).max().unwrap());
}

#[test]
fn a_change_happens_entirely_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let store = Metastore::open(&directory.path().join("metadata.redb")).unwrap();
    insert(&store, &record(&store, "base", None));
    let other = record(&store, "other", Some("base"));
    let failed = store.write(|tx| {
        tx.put(&EXTRA, 1, &RemoteSnapshot::default())?;
        tx.next_number("sequence", 5)?;
        tx.insert_snapshot(&other)?;
        tx.remove_snapshot("base")
    });
    assert!(matches!(failed, Err(MetastoreError::HasChildren(key)) if key == "base"));
    assert_eq!(all(&store).unwrap().len(), 1);
    assert!(store.read(|tx| tx.get(&EXTRA, 1)).unwrap().is_none());
    let numbers = [(); 2].map(|()| store.write(|tx| tx.next_number("sequence", 5)).unwrap());
    assert_eq!(numbers, [5, 6]);
}

#[test]
fn tables_hold_messages() {
    let directory = tempfile::tempdir().unwrap();
    let store = Metastore::open(&directory.path().join("metadata.redb")).unwrap();
    let message = |number: u32| RemoteSnapshot { slot: Some(number), ..Default::default() };
    let put = |tx: &WriteTx<'_>| (1..=3).try_for_each(|number| tx.put(&EXTRA, number, &message(number)));
    store.write::<_, MetastoreError>(put).unwrap();
    assert!(store.write(|tx| tx.delete(&EXTRA, 2)).unwrap());
    assert!(!store.write(|tx| tx.delete(&EXTRA, 2)).unwrap());
    let mut seen = Vec::new();
    let each = |number, found: RemoteSnapshot| {
        assert_eq!(found, message(number));
        seen.push(number);
        Ok(())
    };
    store.read(|tx| tx.for_each(&EXTRA, each)).unwrap();
    assert_eq!(seen, [1, 3]);
}

#[test]
fn what_belongs_to_layers_changes_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Metastore::open(&directory.path().join("metadata.redb")).unwrap();
    let before = fill(&store);
    let changed = store.write(|tx| tx.update_remote("peel/00", |remote| remote.slot = Some(8))).unwrap();
    assert_eq!(changed.remote.as_ref().unwrap().slot, Some(8));
    assert_eq!((changed.updated, &changed.labels), (before[1].updated, &before[1].labels));
    assert_eq!(store.read(|tx| tx.snapshot("peel/00")).unwrap(), changed);
    let ordinary = store.write(|tx| tx.update_remote(&before[0].key, |_| {}));
    assert!(matches!(ordinary, Err(MetastoreError::NotFound(_))));
}

#[test]
fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metadata.redb");
    {
        let store = Metastore::open(&file).unwrap();
        let raise = |tx: &WriteTx<'_>| {
            tx.0.open_table(open::NUMBERS)?.insert("format", 2)?;
            Ok::<_, MetastoreError>(())
        };
        store.write(raise).unwrap();
    }
    let error = Metastore::open(&file).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, newest: 1, .. }), "{error}");
    assert!(error.to_string().contains("metadata.redb"), "{error}");
}

#[test]
fn a_circle_of_parents_ends() {
    let directory = tempfile::tempdir().unwrap();
    let store = Metastore::open(&directory.path().join("metadata.redb")).unwrap();
    let snapshots: Table<&str, stored::Snapshot> = Table::new("snapshots");
    let tampered = SnapshotRecord { parent: Some("a".into()), ..record(&store, "a", None) };
    store.write(|tx| tx.put(&snapshots, "a", &tampered.to_stored())).unwrap();
    assert!(matches!(store.read(|tx| tx.ancestors(&tampered)), Err(MetastoreError::Circle(_))));
}

#[test]
fn damage_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metadata.redb");
    fill(&Metastore::open(&file).unwrap());
    let good = fs::read(&file).unwrap();
    // Most of the file is unused; damage where something is.
    let used: Vec<usize> = (0..good.len()).filter(|&at| good[at] != 0).collect();
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..300 {
        let mut bad = good.clone();
        for _ in 0..random.random_range(1..4) {
            bad[used[random.random_range(0..used.len())]] ^= 1 << random.random_range(0..8);
        }
        if random.random_ratio(1, 8) {
            bad.truncate(random.random_range(0..bad.len()));
        }
        fs::write(&file, bad).unwrap();
        match Metastore::open(&file) {
            Ok(store) => drop(all(&store)),
            Err(error) => assert!(error.to_string().contains("metadata.redb"), "{error}"),
        }
    }
}
