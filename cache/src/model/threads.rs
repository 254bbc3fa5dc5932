//! What the threads do, and what has to hold.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use peel_layer::{ChunkDigest, UnverifiedChunk, VerifiedChunk};
use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
    thread::spawn,
};

use super::{
    pins::Pins,
    store::{Admission, ChunkStore, Shape, Shared},
    sync::AtomicBool,
};
use crate::{BootId, Urgency, disk};

/// Chunks of a block each.
const CHUNKS: u32 = 3;
const CHUNK: u64 = disk::BLOCK;
const BYTES: usize = 4096;
const SHAPE: Shape = Shape {
    chunks: CHUNKS,
    data_size: CHUNKS as u64 * CHUNK,
    tree: [3; 32],
    learns: false,
    group_bytes: CHUNK,
};
/// Bytes of a map before its bits, which are one word here.
const HEADER: usize = 128;
/// Interleavings that are tried, by each of two ways to choose them.
const TRIES: usize = 1000;
const SEED: u64 = 7;
/// Of an eviction for readers; those of a test come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a thread's stack: files are written on it.
const STACK: usize = 256 << 10;
/// Longest sequence of preemptions that a failure is expected to need, less one.
const DEPTH: usize = 3;

/// A layer's store and directory.
struct Ground {
    /// In memory, where there is such a filesystem.
    parent: tempfile::TempDir,
    shared: Arc<Shared>,
    store: Arc<ChunkStore>,
}

impl Ground {
    fn new() -> Arc<Self> {
        let memory = Path::new("/dev/shm");
        let parent =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let shared = Arc::<Shared>::default();
        let boot = BootId::from_bytes([1; 16]);
        let store = ChunkStore::open(parent.path().join("layer"), SHAPE, boot, Arc::clone(&shared));
        Arc::new(Self { parent, shared, store })
    }

    fn dir(&self) -> PathBuf {
        self.parent.path().join("layer")
    }

    fn admit(&self, id: u32) -> bool {
        let admission = self.store.admit(id, u64::from(id) * CHUNK, &chunk(id), Urgency::Demand);
        admission != Admission::Refused
    }

    fn fill(&self) {
        (0..CHUNKS).for_each(|id| assert!(self.admit(id)));
    }

    fn evict(&self, ids: &[u32]) {
        let hole = |id: u32| u64::from(id) * CHUNK..u64::from(id + 1) * CHUNK;
        let holes =
            |absent: &dyn Fn(u32) -> bool| ids.iter().copied().filter(|id| absent(*id)).map(hole).collect();
        self.store.evict(ids, holes).unwrap();
    }

    /// As [`crate::Layer::read`] does it.
    fn read(&self, id: u32) {
        let Some(files) = self.store.files() else { return };
        let _pin = files.pins.pin();
        if files.has(id) {
            let bytes = files.read(u64::from(id) * CHUNK, BYTES).unwrap();
            assert!(bytes == chunk(id).bytes(), "chunk {id} was punched under a reader");
        }
    }

    /// What the next process would find, had this one ended now, and the next boot, had the machine crashed with all
    /// that was written on the disk: every chunk that is called present is.
    fn look(&self) {
        let Ok(data) = fs::read(self.dir().join("data")) else { return };
        for name in ["map", "map.durable"] {
            let Ok(map) = fs::read(self.dir().join(name)) else { continue };
            let bits = u64::from_le_bytes(map[HEADER..HEADER + 8].try_into().unwrap());
            for (id, found) in (0..CHUNKS).zip(data.chunks_exact(BYTES)).filter(|(id, _)| bits >> id & 1 == 1)
            {
                assert!(found == chunk(id).bytes(), "{name} has chunk {id}, which is not there");
            }
        }
    }
}

fn chunk(id: u32) -> VerifiedChunk {
    let bytes = vec![u8::try_from(id + 1).unwrap(); BYTES];
    let digest = ChunkDigest::of(&bytes);
    UnverifiedChunk::new(bytes).verify(&digest).unwrap()
}

/// Runs `threads` together on one ground, in many orders; `end` looks at what they leave.
fn check(threads: &'static [fn(&Ground)], begin: fn(&Ground), end: fn(&Ground)) {
    try_orders(TRIES, move || {
        let ground = Ground::new();
        begin(&ground);
        let start = |work: &fn(&Ground)| {
            let (work, ground) = (*work, Arc::clone(&ground));
            spawn(move || work(&ground))
        };
        let threads: Vec<_> = threads.iter().map(start).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        end(&ground);
        // It waits for a sync that does not come.
        ground.shared.unsynced.lock().clear();
    });
}

fn try_orders(tries: usize, run: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK;
    Runner::new(PctScheduler::new_from_seed(SEED, DEPTH, tries), config.clone()).run(run.clone());
    Runner::new(RandomScheduler::new_from_seed(SEED, tries), config).run(run);
}

/// Why there are two counters: a reader may be sent to one, and come there after an eviction has waited for it.
#[test]
fn the_next_eviction_waits_for_a_reader_that_was_late_for_the_last() {
    try_orders(10 * TRIES, || {
        let (pins, present, punched) = <(Pins, AtomicBool, AtomicBool)>::default();
        present.store(true, SeqCst);
        shuttle::thread::scope(|scope| {
            scope.spawn(|| {
                let _pin = pins.pin();
                if present.load(SeqCst) {
                    assert!(!punched.load(SeqCst), "punched under a reader");
                }
            });
            scope.spawn(|| {
                // Something else is evicted before.
                assert!(pins.wait(PATIENCE));
                present.store(false, SeqCst);
                assert!(pins.wait(PATIENCE));
                punched.store(true, SeqCst);
            });
        });
    });
}

#[test]
fn no_hole_is_punched_under_a_reader() {
    fn reader(ground: &Ground) {
        (0..2).for_each(|_| (0..CHUNKS).for_each(|id| ground.read(id)));
    }
    fn evict_twice(ground: &Ground) {
        ground.evict(&[0]);
        ground.evict(&[1, 2]);
    }
    check(&[reader, evict_twice, reader], Ground::fill, Ground::look);
}

#[test]
fn no_map_has_what_is_not_there_whenever_it_ends() {
    fn evict(ground: &Ground) {
        ground.evict(&[0, 1]);
        ground.evict(&[0, 2]);
    }
    fn sync(ground: &Ground) {
        (0..2).for_each(|_| ground.store.sync().unwrap());
    }
    fn look(ground: &Ground) {
        for _ in 0..10 {
            ground.look();
            shuttle::thread::yield_now();
        }
    }
    fn fill(ground: &Ground) {
        ground.fill();
        ground.fill();
    }
    check(&[fill, evict, sync, look], Ground::fill, |ground| {
        ground.look();
        (0..CHUNKS).for_each(|id| ground.read(id));
    });
}

#[test]
fn a_removed_layer_does_not_come_back() {
    fn remove(ground: &Ground) {
        ground.store.mark_removed();
        disk::remove_dir(&ground.dir()).unwrap();
    }
    fn fill(ground: &Ground) {
        for id in 0..CHUNKS {
            ground.admit(id);
        }
    }
    let gone = |ground: &Ground| {
        assert!(!ground.dir().exists(), "files of a removed layer were made anew");
        (0..CHUNKS).for_each(|id| ground.read(id));
    };
    check(&[fill, remove, fill], |_| {}, gone);
}
