//! A process that fills and evicts is killed at random, a hundred times; what it leaves is whole.

use std::{
    env,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::{Admission, DiskUsage, LayerUsers, Limits};

/// Where the child works.
const DIRECTORY: &str = "PEEL_KILLED_DIRECTORY";
const SEED: &str = "PEEL_KILLED_SEED";
const LAYERS: u8 = 3;
/// Chunks that it stores, or wants to, at most before it is killed.
const STEPS: usize = 300;

/// Room for half of the layers.
fn config(dir: &Path) -> Config {
    let limits = Limits { high_percent: 100, low_percent: 60, max_bytes: Some(120 << 10), min_bytes: 0 };
    Config {
        limits: Some(limits),
        disk_usage: |_| Ok(DiskUsage { capacity: 1 << 40, available: 1 << 40 }),
        group_bytes: 16 << 10,
        pending: Duration::ZERO,
        boot: BootId::from_bytes([1; 16]),
        ..Config::new(dir.join("index"), dir.join("cache")).unwrap()
    }
}

struct Nobody;

impl LayerUsers for Nobody {
    fn release(&self, _: bool) {}

    fn uses(&self) -> Option<std::collections::HashMap<IndexKey, crate::Use>> {
        None
    }
}

fn layers(cache: &Cache) -> Vec<(Arc<Layer>, EStargz)> {
    let blobs = (0..LAYERS).map(some_blob);
    blobs.map(|blob| (cache.layer(&key(&blob)).unwrap().unwrap(), blob)).collect()
}

#[test]
#[ignore = "what the test below starts and kills"]
fn child() {
    let (Ok(dir), Ok(seed)) = (env::var(DIRECTORY), env::var(SEED)) else { return };
    let dir = PathBuf::from(dir);
    let mut random = StdRng::seed_from_u64(seed.parse().unwrap());
    let cache = Cache::open(config(&dir)).unwrap();
    let layers = layers(&cache);
    // Each step is a byte on stderr: the parent counts in steps, which take what they take on a busy machine.
    let mut steps = std::io::stderr();
    // Not for ever, should nobody kill it.
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        let (layer, blob) = &layers[random.random_range(0..layers.len())];
        for id in ids(layer) {
            let refused = layer.admit(id, &decoded(layer, blob, id)) == Admission::Refused;
            if refused && !cache.collect(&Nobody, None).unwrap().evicted.is_empty() {
                fs::write(dir.join("evicted"), "").unwrap();
            }
            steps.write_all(b".").unwrap();
        }
        if random.random_bool(0.3) {
            cache.sync().unwrap();
        }
    }
}

#[test]
fn killed_at_random_while_it_fills_and_evicts() {
    let fixture = Fixture::new();
    let dir = fixture.dir.path();
    {
        let cache = Cache::open(config(dir)).unwrap();
        for seed in 0..LAYERS {
            publish(&cache, &some_blob(seed));
        }
    }
    let mut random = StdRng::seed_from_u64(7);
    let (mut evictions, mut found) = (0, 0);
    for round in 0..100 {
        let evicted = dir.join("evicted");
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "tests::killed::child", "--ignored"])
            .env(DIRECTORY, dir)
            .env(SEED, round.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut steps = vec![0; random.random_range(1..STEPS)];
        child.stderr.as_mut().unwrap().read_exact(&mut steps).unwrap();
        // And somewhere in the next one.
        thread::sleep(Duration::from_micros(random.random_range(0..2_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        evictions += u32::from(fs::remove_file(&evicted).is_ok());

        let cache = Cache::open(config(dir)).unwrap();
        for (layer, blob) in layers(&cache) {
            for id in present(&layer) {
                let chunk = layer.chunk(id);
                assert_eq!(chunk.unwrap().bytes(), decoded(&layer, &blob, id).bytes(), "round {round}");
                found += 1;
            }
            // Blocks of no known chunk: fewer than what eviction looks for, or gone with it.
            let known: u64 = layer.groups().iter().map(|group| group.bytes).sum();
            assert!(layer.stats().disk_bytes <= known + (1 << 20), "round {round}");
        }
        assert_eq!(cache.stats().chunks_damaged, 0);
        for below in ["index", "cache"] {
            let names = fs::read_dir(dir.join(below)).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".tmp-")).collect();
            assert!(left.is_empty(), "round {round}: {left:?}");
        }
    }
    assert!(evictions > 10 && found > 100, "{evictions} rounds evicted, {found} chunks were found");
}
