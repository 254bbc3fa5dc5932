//! Random operations, compared with a model after each.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::*;
use crate::Admission;

/// What the cache should know.
#[derive(Debug, Default)]
struct Model {
    present: BTreeSet<ChunkId>,
    /// What a machine crash leaves.
    durable: BTreeSet<ChunkId>,
    /// The cache directory was deleted under the open layer.
    deleted: bool,
}

struct Run {
    fixture: Fixture,
    blob: EStargz,
    cache: Option<Cache>,
    layer: Arc<Layer>,
    content: Vec<u8>,
    model: Model,
    boot: u8,
    random: StdRng,
}

impl Run {
    fn new(seed: u64) -> Self {
        let fixture = Fixture::new();
        let blob = some_blob(u8::try_from(seed % 256).unwrap());
        let cache = fixture.open();
        let layer = publish(&cache, &blob);
        let content = content(&layer, &blob);
        let random = StdRng::seed_from_u64(seed);
        Self { fixture, blob, cache: Some(cache), layer, content, model: Model::default(), boot: 1, random }
    }

    fn some_ids(&mut self) -> Vec<ChunkId> {
        let all: Vec<_> = ids(&self.layer).collect();
        let count = self.random.random_range(1..4);
        all.choose_multiple(&mut self.random, count).copied().collect()
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..40 => self.admit(),
            40..75 => self.read(),
            75..82 => self.evict(),
            82..88 => self.sync(),
            88..93 => self.reopen(),
            93..96 => self.crash(),
            96..98 => self.delete(),
            _ => self.remove(),
        }
        assert_eq!(present(&self.layer), self.model.present);
        let chunk = |id: &ChunkId| self.layer.index().chunk(*id).length();
        let present = self.model.present.iter().map(chunk).sum::<u64>();
        assert_eq!((self.layer.present_bytes(), self.layer.stats().present_bytes), (present, present));
    }

    fn admit(&mut self) {
        for id in self.some_ids() {
            if std::mem::take(&mut self.model.deleted) {
                self.model.present.clear();
                self.model.durable.clear();
            }
            let expected = if self.model.present.insert(id) { Admission::Stored } else { Admission::Present };
            assert_eq!(self.layer.admit(id, &decoded(&self.layer, &self.blob, id)), expected);
        }
    }

    fn read(&mut self) {
        let size = self.layer.index().data_size().0;
        let start = self.random.random_range(0..size + 5000);
        let range = DataOffset(start).span(self.random.random_range(0..30_000));
        let wanted: Vec<_> = self.layer.index().chunks_in(range.clone()).map(ChunkId).collect();
        let missing: Vec<_> = wanted.into_iter().filter(|id| !self.model.present.contains(id)).collect();
        match self.layer.read(range.clone()) {
            Read::Missing(found) => assert_eq!(found, missing),
            Read::Whole(bytes) => {
                assert!(missing.is_empty());
                assert_eq!(bytes.len() as u64, range.end.0 - range.start.0);
                for (offset, byte) in (range.start.0..).zip(bytes.iter()) {
                    let expected = self.content.get(usize::try_from(offset).unwrap()).copied();
                    assert_eq!(*byte, expected.unwrap_or(0), "at {offset}");
                }
            }
        }
    }

    fn evict(&mut self) {
        let ids = self.some_ids();
        self.layer.evict(&ids).unwrap();
        for id in ids {
            self.model.present.remove(&id);
            self.model.durable.remove(&id);
        }
    }

    fn sync(&mut self) {
        self.cache.as_ref().unwrap().sync().unwrap();
        if !self.model.deleted {
            self.model.durable.clone_from(&self.model.present);
        }
    }

    fn reopen(&mut self) {
        // One cache at a time: the old one goes before the new one comes.
        self.cache = None;
        let cache = Cache::open(self.fixture.config(self.boot)).unwrap();
        self.layer = cache.layer(&key(&self.blob)).unwrap().unwrap();
        self.cache = Some(cache);
        if std::mem::take(&mut self.model.deleted) {
            self.model = Model::default();
        }
    }

    fn crash(&mut self) {
        self.boot += 1;
        if self.model.deleted {
            self.model.durable.clear();
        }
        self.model.present.clone_from(&self.model.durable);
        self.reopen();
    }

    fn delete(&mut self) {
        if let Ok(entries) = fs::read_dir(self.fixture.dir.path().join("cache")) {
            // Before the first chunk there is nothing to delete.
            self.model.deleted |= entries.count() > 0;
            fs::remove_dir_all(self.fixture.dir.path().join("cache")).unwrap();
        }
    }

    fn remove(&mut self) {
        let cache = self.cache.as_ref().unwrap();
        fs::create_dir_all(self.fixture.dir.path().join("cache")).unwrap();
        cache.remove(&key(&self.blob)).unwrap();
        self.layer = publish(cache, &self.blob);
        self.model = Model::default();
    }
}

#[test]
fn random_operations_agree_with_the_model() {
    for seed in 0..30 {
        let mut run = Run::new(seed);
        for _ in 0..150 {
            run.step();
        }
    }
}
