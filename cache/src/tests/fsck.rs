//! What is damaged is found, says where it is, and is gone after a repair.

use std::{ops::ControlFlow, os::unix::fs::FileExt as _};

use super::*;
use crate::{Damage, Finding};

fn findings(cache: &Cache, repair: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let checked = cache.check(repair, &mut |finding, _| {
        found.extend(finding);
        ControlFlow::Continue(())
    });
    checked.unwrap();
    found
}

/// Flips a bit in the middle of a chunk, behind everybody's back.
fn flip(fixture: &Fixture, layer: &Layer, id: ChunkId) {
    let path = fixture.only("cache").join("data");
    let data = fs::File::options().read(true).write(true).open(path).unwrap();
    let at = layer.index().chunk(id).data.start.0;
    let mut byte = [0];
    data.read_exact_at(&mut byte, at).unwrap();
    data.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn a_flipped_bit_is_found_evicted_and_fetched_again() {
    for offline in [false, true] {
        let fixture = Fixture::new();
        let blob = some_blob(0);
        let mut cache = fixture.open();
        let mut layer = publish(&cache, &blob);
        fill(&layer, &blob);
        cache.sync().unwrap();
        assert_eq!(findings(&cache, true), []);
        flip(&fixture, &layer, ChunkId(3));
        let expected = content(&layer, &blob);
        if offline {
            drop((layer, cache));
            cache = Cache::open_as_found(fixture.config(1)).unwrap();
            layer = cache.layer(&key(&blob)).unwrap().unwrap();
        }
        let all = present(&layer);
        for (repair, repaired) in [(false, false), (false, false), (true, true)] {
            let found = findings(&cache, repair);
            let [finding] = &found[..] else { panic!("{found:?}") };
            assert_eq!(finding.damage, Damage::Chunks(1, vec![3]));
            assert_eq!((finding.layer, finding.repaired), (Some(blob.layer()), repaired));
        }
        assert_eq!(present(&layer).len() + 1, all.len());
        assert_eq!(findings(&cache, false), []);
        // Not in the durable map either: another boot does not bring it back.
        drop((layer, cache));
        let cache = Cache::open(fixture.config(2)).unwrap();
        let layer = cache.layer(&key(&blob)).unwrap().unwrap();
        assert!(!layer.has(ChunkId(3)) && layer.has(ChunkId(2)));
        fill(&layer, &blob);
        assert_eq!(whole(&layer).unwrap(), expected);
    }
}

#[test]
fn a_damaged_index_is_resolved_again() {
    for (name, offline) in [("chunks", false), ("tree.erofs", false), ("chunks", true)] {
        let fixture = Fixture::new();
        let blob = some_blob(0);
        let mut cache = fixture.open();
        fill(&publish(&cache, &blob), &blob);
        let path = fixture.only("index").join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        if offline {
            drop(cache);
            cache = Cache::open_as_found(fixture.config(1)).unwrap();
        }
        let found = findings(&cache, false);
        assert!(
            matches!(&found[..], [Finding { damage: Damage::Index(_), repaired: false, .. }]),
            "{found:?}"
        );
        assert!(findings(&cache, true)[0].repaired);
        assert_eq!(findings(&cache, false), []);
        assert!(cache.layer(&key(&blob)).unwrap().is_none());
        let layer = publish(&cache, &blob);
        layer.tree().unwrap();
        fill(&layer, &blob);
        assert_eq!(whole(&layer).unwrap(), content(&layer, &blob));
        assert_eq!(findings(&cache, false), []);
    }
}

#[test]
fn maps_orphans_and_leftovers() {
    let fixture = Fixture::new();
    let blob = some_blob(0);
    let cache = fixture.open();
    let layer = publish(&cache, &blob);
    fill(&layer, &blob);
    let tree = layer.publish_tree(|out| out.write_all(b"a tree")).unwrap();
    drop((layer, cache));
    fs::write(fixture.only("index").join(tree.file_name()), "A tree").unwrap();
    let map = fixture.only("cache").join("map");
    fs::write(&map, [&fs::read(&map).unwrap()[..], b"more"].concat()).unwrap();
    let dir = fixture.dir.path().join("cache");
    fs::create_dir(dir.join("orphan")).unwrap();
    fs::create_dir(dir.join(".tmp-1")).unwrap();
    fs::write(fixture.dir.path().join("index/.tmp-2"), "x").unwrap();
    fs::create_dir_all(dir.join("stream").join(blob.layer().hex())).unwrap();
    fs::write(dir.join("stream").join(blob.layer().hex()).join("data"), "x").unwrap();

    let cache = Cache::open_as_found(fixture.config(1)).unwrap();
    let kinds = |found: Vec<Finding>| -> Vec<String> {
        found
            .iter()
            .map(|finding| format!("{:?}", finding.damage).split('(').next().unwrap().into())
            .collect()
    };
    let expected = ["Index", "Map", "Orphan", "Unfinished", "Unfinished", "Unfinished"];
    assert_eq!(kinds(findings(&cache, false)), expected);
    assert_eq!(kinds(findings(&cache, true)), expected);
    assert_eq!(findings(&cache, false), []);
    // The layer is as good as new.
    let layer = cache.layer(&key(&blob)).unwrap().unwrap();
    assert!(present(&layer).is_empty());
    fill(&layer, &blob);
    assert_eq!(findings(&cache, false), []);
}

#[test]
fn who_goes_away_ends_the_check() {
    let fixture = Fixture::new();
    let cache = fixture.open();
    for seed in 0..3 {
        publish(&cache, &some_blob(seed));
    }
    let checked = cache.check(false, &mut |_, _| ControlFlow::Break(())).unwrap();
    assert_eq!((checked.layers, checked.of_layers), (1, 3));
}
