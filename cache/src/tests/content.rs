//! Finding content in other layers, and never believing a table about it.

use std::{
    io::Write as _,
    ops::ControlFlow,
    os::unix::fs::FileExt as _,
    time::{Duration, SystemTime},
};

use peel_layer::ChunkDigest;

use super::*;

#[test]
fn content_is_found_in_any_layer_that_has_it_present() {
    let fixture = Fixture::new();
    let cache = fixture.open();
    let (ours, theirs) = (vec![1; 9000], vec![2; 9000]);
    let first = blob(&[("x", ours.clone()), ("y", theirs.clone())]);
    let layer = publish(&cache, &first);
    assert!(cache.find_content(&ChunkDigest::of(&ours)).is_none(), "known, but not here");
    layer.admit(ChunkId(0), &decoded(&layer, &first, ChunkId(0)));
    assert_eq!(cache.find_content(&ChunkDigest::of(&ours)).unwrap().bytes(), ours);
    assert!(cache.find_content(&ChunkDigest::of(&theirs)).is_none());
    drop((layer, cache));

    // Also after a restart, before anybody has opened the layer.
    assert_eq!(fixture.open().find_content(&ChunkDigest::of(&ours)).unwrap().bytes(), ours);
}

/// More layers than stay open: those that were used last are searched, whoever looks at the others.
#[test]
fn the_layers_used_last_are_searched() {
    let fixture = Fixture::new();
    let config = || Config { open_layers: 2, ..fixture.config(1) };
    let cache = Cache::open(config()).unwrap();
    let contents: Vec<Vec<u8>> = (1..=5).map(|byte| vec![byte; 9000]).collect();
    let blobs: Vec<_> = contents.iter().map(|content| blob(&[("x", content.clone())])).collect();
    let found = |cache: &Cache| -> Vec<usize> {
        let has = |at: &usize| cache.find_content(&ChunkDigest::of(&contents[*at])).is_some();
        (0..contents.len()).filter(has).collect()
    };
    let look_at_all = |cache: &Cache| {
        cache.check(false, &mut |_, _| ControlFlow::Continue(())).unwrap();
        assert_eq!(cache.stats().layers.len(), blobs.len());
        for blob in &blobs {
            cache.evict(&key(blob)).unwrap();
        }
    };
    for blob in &blobs {
        fill(&publish(&cache, blob), blob);
    }
    assert_eq!(found(&cache), [3, 4]);
    cache.layer(&key(&blobs[1])).unwrap();
    assert_eq!(found(&cache), [1, 4]);
    cache.sync().unwrap();
    drop(cache);

    // After a restart that is told by when their epochs were written.
    for (at, blob) in blobs.iter().enumerate() {
        let epochs = fixture.dir.path().join("cache").join(key(blob).to_string()).join("epochs");
        let when = SystemTime::now() - Duration::from_secs([10, 30, 20, 50, 40][at]);
        fs::File::options().write(true).open(epochs).unwrap().set_modified(when).unwrap();
    }
    let cache = Cache::open(config()).unwrap();
    assert_eq!(found(&cache), [0, 2]);
    look_at_all(&cache);
    for blob in &blobs {
        let layer = cache.look_at(&key(blob).to_string()).unwrap().unwrap();
        fill(&layer, blob);
    }
    assert_eq!(found(&cache), [0, 2]);
}

#[test]
fn a_flipped_bit_is_found_counted_and_fetched_again() {
    let fixture = Fixture::new();
    let cache = fixture.open();
    let blob = some_blob(0);
    let layer = publish(&cache, &blob);
    fill(&layer, &blob);
    let expected = content(&layer, &blob);
    for id in ids(&layer) {
        let chunk = layer.index().chunk(id);
        let data = fs::File::options().write(true).open(fixture.only("cache").join("data")).unwrap();
        let last = usize::try_from(chunk.data.end.0 - 1).unwrap();
        data.write_all_at(&[expected[last] ^ 1], chunk.data.end.0 - 1).unwrap();
        assert!(cache.find_content(&chunk.digest.unwrap()).is_none());
        assert!(!layer.has(id));
        layer.admit(id, &decoded(&layer, &blob, id));
        // Found by a read of another part of the chunk too.
        data.write_all_at(&[expected[last] ^ 1], chunk.data.end.0 - 1).unwrap();
        let read = layer.read(chunk.data.start.span(1));
        assert!(matches!(read, Read::Missing(missing) if missing == [id]));
        layer.admit(id, &decoded(&layer, &blob, id));
    }
    assert_eq!(whole(&layer).unwrap(), expected);
    assert_eq!(cache.stats().chunks_damaged, 2 * u64::from(layer.index().chunk_count()));
}

#[test]
fn a_chunk_of_other_content_is_refused() {
    let fixture = Fixture::new();
    let cache = fixture.open();
    let (first, second) = (some_blob(0), some_blob(1));
    let (layer, other) = (publish(&cache, &first), publish(&cache, &second));
    let wrong = decoded(&other, &second, ChunkId(0));
    assert_eq!(layer.admit(ChunkId(0), &wrong), crate::Admission::Refused);
    assert!(!layer.has(ChunkId(0)));
}

/// Not a test of right or wrong: prints what a search costs. Run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measure_search_over_two_hundred_layers() {
    const LAYERS: u16 = 200;
    const FILES: u16 = 1000;
    let fixture = Fixture::new();
    let cache = fixture.open();
    let file = |layer: u16, file: u16| [layer.to_le_bytes(), file.to_le_bytes()].concat();
    for number in 0..LAYERS {
        let entries: Vec<_> = (0..FILES)
            .map(|file_number| TarEntry::file(&format!("f{file_number}"), &file(number, file_number)))
            .collect();
        let blob = EStargzWriter::new().entries(&entries).finish();
        fill(&publish(&cache, &blob), &blob);
    }
    let mut out = std::io::stderr();
    let mut measure = |what: &str, digests: Vec<ChunkDigest>| {
        let start = std::time::Instant::now();
        let found = digests.iter().filter(|digest| cache.find_content(digest).is_some()).count();
        let each = start.elapsed() / u32::try_from(digests.len()).unwrap();
        writeln!(out, "{what}: {each:?} each, {found} of {} found", digests.len()).unwrap();
    };
    let absent =
        |salt: u32| (0..5000_u32).map(move |n| ChunkDigest::of(&[n, salt].map(u32::to_le_bytes).concat()));
    measure("absent, filters built on the way", absent(1).collect());
    measure("absent", absent(2).collect());
    let there = (0..5000_u16).map(|n| ChunkDigest::of(&file(n % LAYERS, n / 5)));
    measure("present", there.collect());
}
