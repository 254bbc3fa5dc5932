//! Random fills, reads, rounds, removals and crashes, compared with a model that remembers everything.

use std::{collections::BTreeMap, os::unix::fs::FileExt as _};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::*;
use crate::Admission;

/// One layer, as it should be.
#[derive(Debug, Default, Clone)]
struct Known {
    present: BTreeSet<ChunkId>,
    durable: BTreeSet<ChunkId>,
    /// By group; of groups that were never used there is none.
    epochs: BTreeMap<u32, u32>,
    /// What the next process finds.
    written: BTreeMap<u32, u32>,
}

struct Run {
    fixture: Fixture,
    blobs: Vec<EStargz>,
    cache: Option<Cache>,
    layers: Vec<Arc<Layer>>,
    model: Vec<Known>,
    users: Users,
    boot: u8,
    now: u32,
    /// A reader's chunk found no room since the last round.
    pressed: bool,
    random: StdRng,
}

impl Run {
    fn new(seed: u64) -> Self {
        let fixture = Fixture::new();
        let cache = open(&fixture, 1, LIMITS);
        let blobs: Vec<_> = (0..4).map(some_blob).collect();
        let layers = blobs.iter().map(|blob| publish(&cache, blob)).collect();
        let mut run = Self {
            fixture,
            blobs,
            cache: Some(cache),
            layers,
            model: vec![Known::default(); 4],
            users: Users::default(),
            boot: 1,
            // The year 2100: later than the clock that the cache starts with.
            pressed: false,
            now: 4_102_444_800,
            random: StdRng::seed_from_u64(seed),
        };
        run.tick();
        run
    }

    fn cache(&self) -> &Cache {
        self.cache.as_ref().unwrap()
    }

    fn tick(&mut self) {
        self.now += 1;
        self.cache().advance(SystemTime::UNIX_EPOCH + Duration::from_secs(self.now.into()));
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..35 => self.admit(),
            35..55 => self.read(),
            55..65 => self.tick(),
            65..82 => self.collect(),
            82..88 => self.sync(),
            88..93 => self.reopen(),
            93..96 => self.crash(),
            _ => self.remove(),
        }
        for (layer, known) in self.layers.iter().zip(&self.model) {
            assert_eq!(present(layer), known.present);
            for group in layer.groups() {
                let expected = known.epochs.get(&group.number).copied().unwrap_or(0);
                assert_eq!(group.epoch, expected, "group {} of {layer:?}", group.number);
            }
        }
    }

    fn some_layer(&mut self) -> usize {
        self.random.random_range(0..self.layers.len())
    }

    fn use_chunks(&mut self, layer: usize, ids: std::ops::Range<u32>) {
        let grouping = self.layers[layer].store.grouping();
        let index = self.layers[layer].index();
        for id in ids.map(ChunkId) {
            let data = index.chunk(id).data;
            for group in grouping.of(data.start.0)..=grouping.of(data.end.0 - 1) {
                self.model[layer].epochs.insert(group, self.now);
            }
        }
    }

    fn admit(&mut self) {
        let number = self.some_layer();
        let layer = Arc::clone(&self.layers[number]);
        let all: Vec<_> = ids(&layer).collect();
        let some: Vec<_> = all.choose_multiple(&mut self.random, 6).copied().collect();
        // What was removed since statfs was last asked.
        self.cache().measure().unwrap();
        for id in some {
            match layer.admit(id, &decoded(&layer, &self.blobs[number], id)) {
                Admission::Present => assert!(self.model[number].present.contains(&id)),
                Admission::Stored => {
                    assert!(self.model[number].present.insert(id));
                    self.use_chunks(number, id.0..id.0 + 1);
                }
                Admission::Refused => {
                    // Blocks at both ends that it shares with neighbours count twice until statfs is asked again.
                    assert!(used(&self.fixture) + ((12 + 5 * 8) << 10) > CAPACITY * 8 / 10);
                    // Nobody can press while it is of no use.
                    self.pressed |= self.cache().gc_state() == GcState::Idle;
                }
            }
        }
    }

    fn read(&mut self) {
        let number = self.some_layer();
        let layer = Arc::clone(&self.layers[number]);
        let start = self.random.random_range(0..layer.index().data_size().0);
        let range = DataOffset(start).span(self.random.random_range(1..30_000));
        let wanted = layer.index().chunks_in(range.clone());
        let complete = wanted.clone().all(|id| self.model[number].present.contains(&ChunkId(id)));
        let read = layer.read(range.clone());
        assert_eq!(matches!(read, Read::Whole(_)), complete);
        if let (Read::Whole(bytes), false) = (read, wanted.is_empty()) {
            let content = content(&layer, &self.blobs[number]);
            for (offset, byte) in (range.start.0..).zip(bytes.iter()) {
                assert_eq!(*byte, content.get(usize::try_from(offset).unwrap()).copied().unwrap_or(0));
            }
            let first = layer.index().chunk(ChunkId(wanted.start)).data.start.0;
            let last = range.end.0.min(layer.index().data_size().0) - 1;
            let grouping = layer.store.grouping();
            for group in grouping.of(first)..=grouping.of(last) {
                self.model[number].epochs.insert(group, self.now);
            }
        }
    }

    /// What has to hold of a round, whatever the exact number of blocks.
    fn collect(&mut self) {
        set_foreign(&self.fixture, self.random.random_range(0..CAPACITY / 2));
        for layer in &self.layers {
            let used = [Use::Unreferenced, Use::Idle, Use::Running].choose(&mut self.random).unwrap();
            self.users.uses.insert(layer.key(), *used);
        }
        let before = used(&self.fixture);
        let round = self.cache().collect(&self.users, None).unwrap();
        let pressed = std::mem::take(&mut self.pressed);
        let due = before >= CAPACITY * 8 / 10 || pressed && before > CAPACITY * 6 / 10;
        let mut names: Vec<_> = self.layers.iter().map(|layer| layer.key().to_string()).collect();
        names.sort_unstable();
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for (layer, known) in self.layers.iter().zip(&mut self.model) {
            let now = present(layer);
            let rank = names.binary_search(&layer.key().to_string()).unwrap();
            let order = |group: u32| {
                let epoch = known.epochs.get(&group).copied().unwrap_or(0);
                (self.users.uses[&layer.key()], epoch, rank, group)
            };
            let group = |id: &ChunkId| layer.store.grouping().of(layer.index().chunk(*id).data.start.0);
            gone.extend(known.present.difference(&now).map(|id| order(group(id))));
            kept.extend(now.iter().map(|id| order(group(id))));
            known.present.clone_from(&now);
            known.durable.retain(|id| now.contains(id));
        }
        assert!(gone.is_empty() || due, "nothing goes below the high watermark");
        if let (Some(last), Some(first)) = (gone.iter().max(), kept.iter().min()) {
            assert!(last < first, "{last:?} went before {first:?}");
        }
        if due {
            let low = CAPACITY * 6 / 10;
            assert!(used(&self.fixture) <= low || kept.is_empty(), "{round:?}");
            // Too much is the last group at most, of 16 KiB and the rest of its last chunk, and in every layer a block
            // at both ends that had been shared with a neighbour.
            let most = (16 + 12 + 4 + 4 * 8) << 10;
            assert!(used(&self.fixture) + most > low, "{round:?}");
        }
    }

    fn sync(&mut self) {
        self.cache().sync().unwrap();
        for known in &mut self.model {
            known.durable.clone_from(&known.present);
            known.written.clone_from(&known.epochs);
        }
    }

    fn reopen(&mut self) {
        self.pressed = false;
        self.layers.clear();
        self.cache = None;
        let cache = open(&self.fixture, self.boot, LIMITS);
        self.cache = Some(cache);
        // Before the layers are opened: an epoch of the future is taken for now.
        self.tick();
        self.layers =
            self.blobs.iter().map(|blob| self.cache().layer(&key(blob)).unwrap().unwrap()).collect();
        for known in &mut self.model {
            known.epochs.clone_from(&known.written);
        }
    }

    fn crash(&mut self) {
        self.boot += 1;
        for (layer, known) in self.layers.iter().zip(&mut self.model) {
            // What was not synced may be anything.
            let path = self.fixture.dir.path().join("cache").join(layer.key().to_string()).join("data");
            if let Ok(data) = fs::File::options().write(true).open(path) {
                for id in known.present.difference(&known.durable) {
                    let chunk = layer.index().chunk(*id);
                    let length = usize::try_from(chunk.length()).unwrap();
                    data.write_all_at(&vec![0xee; length], chunk.data.start.0).unwrap();
                }
            }
            known.present.clone_from(&known.durable);
        }
        self.reopen();
    }

    fn remove(&mut self) {
        let number = self.some_layer();
        let key = key(&self.blobs[number]);
        self.cache().remove(&key).unwrap();
        self.layers[number] = publish(self.cache(), &self.blobs[number]);
        self.model[number] = Known::default();
    }
}

#[test]
fn random_rounds_agree_with_the_model() {
    for seed in 0..10 {
        let mut run = Run::new(seed);
        for _ in 0..150 {
            run.step();
        }
    }
}
