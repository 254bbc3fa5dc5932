//! What the files promise, without an index.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use peel_layer::{ChunkDigest, UnverifiedChunk, VerifiedChunk};

use crate::{
    Admission, BootId, Urgency, disk,
    store::{ChunkStore, Shape, Shared},
};

const SHAPE: Shape =
    Shape { chunks: 10, data_size: 10 * CHUNK, tree: [3; 32], learns: false, group_bytes: CHUNK };
const CHUNK: u64 = 8192;
const BOOT: BootId = BootId::from_bytes([1; 16]);
const NEXT_BOOT: BootId = BootId::from_bytes([2; 16]);

struct Fixture {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), shared: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cache/layer")
    }

    fn open(&self, boot: BootId) -> Arc<ChunkStore> {
        ChunkStore::open(self.path(), SHAPE, boot, Arc::clone(&self.shared))
    }
}

fn chunk(id: u32) -> VerifiedChunk {
    let bytes = vec![u8::try_from(id + 1).unwrap(); 8192];
    let digest = ChunkDigest::of(&bytes);
    UnverifiedChunk::new(bytes).verify(&digest).unwrap()
}

fn fill(store: &Arc<ChunkStore>, id: u32) -> Admission {
    store.admit(id, u64::from(id) * CHUNK, &chunk(id), Urgency::Demand)
}

fn evict(store: &Arc<ChunkStore>, ids: &[u32]) -> u64 {
    let hole = |id: u32| u64::from(id) * CHUNK..u64::from(id + 1) * CHUNK;
    store.evict(ids, |absent| ids.iter().copied().filter(|id| absent(*id)).map(hole).collect()).unwrap()
}

fn present(store: &ChunkStore) -> Vec<u32> {
    let Some(files) = store.files() else { return Vec::new() };
    let ids: Vec<u32> = files.bits().iter().collect();
    for id in &ids {
        let bytes = files.read(u64::from(*id) * CHUNK, 8192).unwrap();
        assert!(bytes.iter().all(|byte| u32::from(*byte) == id + 1), "chunk {id}");
    }
    ids
}

#[test]
fn costs_nothing_before_the_first_chunk() {
    let fixture = Fixture::new();
    assert_eq!(present(&fixture.open(BOOT)), [0; 0]);
    assert!(!fixture.path().exists());
}

#[test]
fn unsynced_chunks_survive_the_process() {
    let fixture = Fixture::new();
    let store = fixture.open(BOOT);
    assert_eq!(fill(&store, 3), Admission::Stored);
    assert_eq!(fill(&store, 3), Admission::Present);
    assert_eq!(fill(&store, 9), Admission::Stored);
    assert_eq!(present(&fixture.open(BOOT)), [3, 9]);
}

#[test]
fn the_machine_loses_what_was_not_synced() {
    let fixture = Fixture::new();
    let store = fixture.open(BOOT);
    fill(&store, 1);
    fill(&store, 2);
    store.sync().unwrap();
    fill(&store, 5);
    let store = fixture.open(NEXT_BOOT);
    assert_eq!(present(&store), [1, 2]);
    fill(&store, 6);
    assert_eq!(present(&fixture.open(NEXT_BOOT)), [1, 2, 6]);
}

/// After a failed sync the kernel takes the pages for clean: what it still reads well need not be on the disk.
#[test]
fn what_a_failed_sync_leaves_is_not_believed() {
    let fixture = Fixture::new();
    let store = fixture.open(BOOT);
    fill(&store, 1);
    store.sync().unwrap();
    fill(&store, 2);
    let failed = store.sync_with(|_| Err(io::Error::other("the disk is broken"))).unwrap_err();
    assert_eq!(failed.to_string(), "the disk is broken");
    assert_eq!(present(&store), [1]);
    // It comes again, and stays.
    fill(&store, 2);
    store.sync().unwrap();
    assert_eq!(present(&fixture.open(NEXT_BOOT)), [1, 2]);
}

#[test]
fn without_a_durable_map_the_machine_loses_all() {
    let fixture = Fixture::new();
    fill(&fixture.open(BOOT), 1);
    assert_eq!(present(&fixture.open(NEXT_BOOT)), [0; 0]);
    assert!(!fixture.path().exists(), "worthless data is removed at once");
}

#[test]
fn a_deleted_directory_is_made_anew_and_old_readers_go_on() {
    let fixture = Fixture::new();
    let store = fixture.open(BOOT);
    fill(&store, 1);
    fs::remove_dir_all(fixture.dir.path().join("cache")).unwrap();
    assert_eq!(present(&store), [1]);
    store.sync().unwrap();
    assert_eq!(fill(&store, 2), Admission::Stored);
    assert_eq!(present(&store), [2]);
    assert_eq!(present(&fixture.open(BOOT)), [2]);
    assert_eq!(fixture.shared.counters.recreated.load(Ordering::Relaxed), 1);
}

#[test]
fn a_map_next_to_another_data_file_is_not_believed() {
    for damage in [
        (|dir| fs::rename(dir.join("copy"), dir.join("data"))) as fn(PathBuf) -> io::Result<()>,
        |dir| fs::remove_file(dir.join("data")),
        |dir| fs::remove_file(dir.join("map")),
        |dir| fs::write(dir.join("map"), "rubbish"),
        |dir| fs::File::options().write(true).open(dir.join("data"))?.set_len(5),
    ] {
        let fixture = Fixture::new();
        fill(&fixture.open(BOOT), 1);
        fs::copy(fixture.path().join("data"), fixture.path().join("copy")).unwrap();
        damage(fixture.path()).unwrap();
        let store = fixture.open(BOOT);
        assert_eq!(present(&store), [0; 0]);
        assert_eq!(fill(&store, 4), Admission::Stored);
        assert_eq!(present(&fixture.open(BOOT)), [4]);
    }
}

/// A filesystem gives the new file the inode number of the old one, by which a map knows its file.
#[test]
fn no_map_of_an_earlier_data_file_is_left() {
    let fixture = Fixture::new();
    let store = fixture.open(BOOT);
    fill(&store, 1);
    store.sync().unwrap();
    drop(store);
    fixture.shared.unsynced.lock().clear();
    fs::remove_file(fixture.path().join("data")).unwrap();
    let store = fixture.open(BOOT);
    fill(&store, 4);
    assert!(!fixture.path().join("map.durable").exists());
    assert_eq!(present(&fixture.open(NEXT_BOOT)), [0; 0]);
}

#[test]
fn trouble_with_the_disk_is_refused_and_counted() {
    let fixture = Fixture::new();
    fs::write(fixture.dir.path().join("cache"), "not a directory").unwrap();
    let store = fixture.open(BOOT);
    assert_eq!(fill(&store, 1), Admission::Refused);
    fs::remove_file(fixture.dir.path().join("cache")).unwrap();
    assert_eq!(fill(&store, 1), Admission::Stored);
    assert_eq!(fixture.shared.counters.refused.load(Ordering::Relaxed), 1);
}

#[test]
fn a_removed_layer_is_not_brought_back() {
    let fixture = Fixture::new();
    let store = fixture.open(BOOT);
    fill(&store, 1);
    store.mark_removed();
    disk::remove_dir(&fixture.path()).unwrap();
    assert_eq!(fill(&store, 2), Admission::Refused);
    assert_eq!(present(&store), [1]);
    assert!(!fixture.path().exists());
}

#[test]
fn evicted_chunks_are_gone_from_both_maps_and_from_the_disk() {
    let fixture = Fixture::new();
    let store = fixture.open(BOOT);
    for id in 0..10 {
        fill(&store, id);
    }
    store.sync().unwrap();
    let before = store.files().unwrap().disk_bytes();
    let freed = evict(&store, &[2, 3, 4, 5, 6, 7]);
    assert_eq!(present(&store), [0, 1, 8, 9]);
    assert!(freed >= 5 * CHUNK && store.files().unwrap().disk_bytes() == before - freed);
    assert_eq!(present(&fixture.open(NEXT_BOOT)), [0, 1, 8, 9]);
}

#[test]
fn no_reader_sees_a_hole() {
    let fixture = Fixture::new();
    let store = fixture.open(BOOT);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for id in 0..10 {
                        let Some(files) = store.files() else { continue };
                        let pin = files.pins.pin();
                        if files.has(id) {
                            std::thread::yield_now();
                            let bytes = files.read(u64::from(id) * CHUNK, 8192).unwrap();
                            assert!(bytes.iter().all(|byte| u32::from(*byte) == id + 1));
                        }
                        drop(pin);
                    }
                }
            });
        }
        for round in 0..200 {
            let ids: Vec<u32> = (0..10).filter(|id| (id + round) % 3 != 0).collect();
            for id in &ids {
                fill(&store, *id);
            }
            evict(&store, &ids);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn digests_that_no_index_has_are_kept_with_the_map() {
    let fixture = Fixture::new();
    let open = |boot| {
        let shape = Shape { learns: true, ..SHAPE };
        ChunkStore::open(fixture.path(), shape, boot, Arc::clone(&fixture.shared))
    };
    let learned = |store: &ChunkStore, id| store.files().and_then(|files| files.learned(id));
    let store = open(BOOT);
    assert_eq!(learned(&store, 3), None);
    fill(&store, 3);
    store.sync().unwrap();
    fill(&store, 4);
    assert_eq!(learned(&store, 3), Some(*chunk(3).digest()));
    assert_eq!(learned(&store, 5), None);
    assert_eq!(learned(&store, 4000), None);
    // Evicted, and in another process.
    evict(&store, &[3]);
    drop(store);
    let store = open(BOOT);
    assert_eq!(present(&store), [4]);
    assert_eq!(
        (learned(&store, 3), learned(&store, 4)),
        (Some(*chunk(3).digest()), Some(*chunk(4).digest()))
    );
    store.sync().unwrap();
    drop(store);
    let store = open(NEXT_BOOT);
    assert_eq!((present(&store), learned(&store, 4)), (vec![4], Some(*chunk(4).digest())));
    drop(store);
    // Chunks that cannot be checked again are fetched again: without the file, with a short one, with another's.
    let digests = fixture.path().join("digests");
    let whole = fs::read(&digests).unwrap();
    let mut other = whole.clone();
    other[40] ^= 1;
    for file in [None, Some(&whole[..whole.len() - 1]), Some(&other[..])] {
        let store = open(NEXT_BOOT);
        fill(&store, 7);
        drop(store);
        match file {
            Some(file) => fs::write(&digests, file).unwrap(),
            None => fs::remove_file(&digests).unwrap(),
        }
        assert_eq!(present(&open(NEXT_BOOT)), Vec::<u32>::new());
    }
}
