//! Numbers of many layers.

use std::time::{Duration, SystemTime};

use super::*;
use crate::LayerStats;

/// More layers than stay open.
fn many(fixture: &Fixture) -> (Cache, Vec<EStargz>) {
    let cache = Cache::open(Config { open_layers: 2, ..fixture.config(1) }).unwrap();
    let blobs: Vec<_> = (0..6).map(some_blob).collect();
    for blob in &blobs {
        fill(&publish(&cache, blob), blob);
    }
    (cache, blobs)
}

#[test]
fn layers_that_are_closed_are_not_opened_for_it() {
    let fixture = Fixture::new();
    let (cache, blobs) = many(&fixture);
    let before = cache.stats();
    assert_eq!((before.layers.len(), before.present_bytes), (6, before.content_bytes));
    // Who opens one now fails.
    for dir in fs::read_dir(fixture.dir.path().join("index")).unwrap() {
        fs::write(dir.unwrap().path().join("chunks"), b"rubbish").unwrap();
    }
    let opens = |blob: &EStargz| cache.layer(&key(blob)).is_ok();
    assert_eq!(blobs.iter().filter(|blob| opens(blob)).count(), 2);
    assert_eq!(cache.stats(), before);
}

#[test]
fn the_first_look_of_a_process_opens_them_and_the_next_do_not() {
    let fixture = Fixture::new();
    let (cache, _) = many(&fixture);
    // Epochs are written with the maps.
    cache.sync().unwrap();
    let before = cache.stats().layers;
    drop(cache);
    let cache = Cache::open(Config { open_layers: 1, ..fixture.config(1) }).unwrap();
    assert_eq!(cache.stats().layers, before);
    fs::remove_dir_all(fixture.dir.path().join("index")).unwrap();
    assert_eq!(cache.stats().layers, before);
}

#[test]
fn they_follow_what_happens_to_open_and_closed_layers() {
    let fixture = Fixture::new();
    let (cache, blobs) = many(&fixture);
    let of = |blob: &EStargz| -> LayerStats {
        let stats = cache.stats().layers;
        stats.into_iter().find(|stats| stats.key == key(blob)).unwrap()
    };
    let before = of(&blobs[0]);
    // Opened, changed, closed by others.
    let layer = cache.layer(&key(&blobs[0])).unwrap().unwrap();
    layer.evict(&[ChunkId(0), ChunkId(1)]).unwrap();
    let open = of(&blobs[0]);
    assert_eq!(open, layer.stats());
    assert!(open.present_bytes < before.present_bytes && open.disk_bytes < before.disk_bytes);
    let later = SystemTime::now() + Duration::from_secs(1000);
    cache.advance(later);
    layer.admit(ChunkId(0), &decoded(&layer, &blobs[0], ChunkId(0)));
    let oldest = of(&blobs[0]).oldest_access;
    assert!(oldest > before.oldest_access, "one group: it was used just now");
    let refilled = layer.stats();
    drop(layer);
    for blob in &blobs[1..] {
        cache.layer(&key(blob)).unwrap().unwrap();
    }
    assert_eq!(of(&blobs[0]), refilled);
    // Deleted while it is closed.
    fs::remove_dir_all(fixture.dir.path().join("cache").join(key(&blobs[0]).to_string())).unwrap();
    assert_eq!(
        (of(&blobs[0]).present_bytes, of(&blobs[0]).disk_bytes, of(&blobs[0]).oldest_access),
        (0, 0, None)
    );
    assert_eq!(of(&blobs[0]).content_bytes, before.content_bytes);
    // Removed.
    cache.remove(&key(&blobs[0])).unwrap();
    assert_eq!(cache.stats().layers.len(), 5);
}
