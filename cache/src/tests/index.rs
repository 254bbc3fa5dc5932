//! Publishing, opening, removing and damaging index files.

use peel_layer::testing::{gzip, stream_whole, tar};

use super::*;
use crate::{CacheError, PublishError};

#[test]
fn a_published_layer_is_found_by_the_next_process() {
    let fixture = Fixture::new();
    let blob = some_blob(0);
    let cache = fixture.open();
    assert!(cache.layer(&key(&blob)).unwrap().is_none());
    let layer = publish(&cache, &blob);
    assert!(Arc::ptr_eq(&layer, &cache.layer(&key(&blob)).unwrap().unwrap()));
    fill(&layer, &blob);
    let expected = content(&layer, &blob);
    drop((layer, cache));

    let cache = fixture.open();
    let layer = cache.layer(&key(&blob)).unwrap().unwrap();
    assert_eq!(whole(&layer).unwrap(), expected);
    assert!(!layer.tree().unwrap().bytes().is_empty());
    let stats = cache.stats();
    assert_eq!(stats.present_bytes, stats.content_bytes);
    assert!(stats.disk_bytes >= stats.present_bytes);
}

#[test]
fn what_fails_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let cache = fixture.open();
    let blob = some_blob(0);
    let failed = cache.publish(&key(&blob), |files| {
        files.tree.write_all(b"half of it").unwrap();
        Err::<(), _>("hostile")
    });
    assert!(matches!(failed, Err(PublishError::Content("hostile"))));
    let rubbish = cache.publish(&key(&blob), |_| Ok::<_, Infallible>(()));
    assert!(matches!(rubbish, Err(PublishError::Cache(CacheError::Damaged { .. }))));
    assert!(matches!(cache.layer(&key(&blob)), Err(CacheError::Damaged { .. })));
    // A good one replaces it.
    publish(&cache, &blob).tree().unwrap();
}

#[test]
fn a_seek_index_is_kept_when_there_is_one() {
    for seek in [&b""[..], b"checkpoints"] {
        let fixture = Fixture::new();
        let blob = some_blob(0);
        let mut bytes = blob.index(&Limits::default()).unwrap().bytes;
        bytes.seek = seek.to_vec();
        fixture.open().publish(&key(&blob), |files| bytes.write_to(files)).unwrap();
        let found = fs::read(fixture.only("index").join("seek")).ok();
        assert_eq!(found.as_deref(), (!seek.is_empty()).then_some(seek));
    }
}

#[test]
fn a_streamed_layer_is_opened_with_its_seek_index() {
    let fixture = Fixture::new();
    let blob = gzip(&tar(&[TarEntry::file("f", b"content")]));
    let streamed = stream_whole(&blob).unwrap();
    let key = streamed.index.key();
    fixture.open().publish(&key, |files| streamed.bytes.write_to(files)).unwrap();
    let cache = fixture.open();
    let layer = cache.layer(&key).unwrap().unwrap();
    let range = layer.index().blob_range(ChunkId(0));
    let bytes = &blob[usize::try_from(range.start.0).unwrap()..usize::try_from(range.end.0).unwrap()];
    assert_eq!(decode_chunk(layer.index(), ChunkId(0), bytes).unwrap().unwrap().bytes(), b"content");

    let path = fixture.only("index").join("seek");
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[1..]).unwrap();
    let error = fixture.open().layer(&key).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(matches!(fixture.open().layer(&key), Err(CacheError::Damaged { .. })));
    // Made again, it is good again.
    fixture.open().publish(&key, |files| streamed.bytes.write_to(files)).unwrap();
    assert!(fixture.open().layer(&key).unwrap().is_some());
}

#[test]
fn damage_is_noticed_and_publishing_heals_it() {
    for name in ["chunks", "tree.erofs"] {
        let fixture = Fixture::new();
        let blob = some_blob(0);
        fill(&publish(&fixture.open(), &blob), &blob);
        let path = fixture.only("index").join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();

        let cache = fixture.open();
        let error = cache.layer(&key(&blob)).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("built again"), "{error}");
        let layer = publish(&cache, &blob);
        // The same index again: the chunks are still good.
        assert_eq!(whole(&layer).unwrap(), content(&layer, &blob));

        fs::remove_file(&path).unwrap();
        drop((layer, cache));
        assert!(matches!(fixture.open().layer(&key(&blob)), Err(CacheError::Damaged { .. })));
    }
}

#[test]
fn a_table_under_another_name_is_not_used() {
    let fixture = Fixture::new();
    let (blob, other) = (some_blob(0), some_blob(1));
    publish(&fixture.open(), &blob);
    let path = fixture.only("index");
    fs::rename(&path, path.with_file_name(key(&other).to_string())).unwrap();
    assert!(matches!(fixture.open().layer(&key(&other)), Err(CacheError::Damaged { .. })));
}

#[test]
fn what_a_crash_left_is_removed_at_start() {
    let fixture = Fixture::new();
    let blob = some_blob(0);
    let layer = publish(&fixture.open(), &blob);
    fill(&layer, &blob);
    for below in ["index", "cache"] {
        let dir = fixture.dir.path().join(below);
        fs::create_dir_all(dir.join(".tmp-1/x")).unwrap();
        fs::write(dir.join(".tmp-2"), "x").unwrap();
    }
    fs::create_dir(fixture.dir.path().join("cache/orphan")).unwrap();
    let cache = fixture.open();
    for below in ["index", "cache"] {
        assert_eq!(fs::read_dir(fixture.dir.path().join(below)).unwrap().count(), 1, "{below}");
    }
    assert!(whole(&cache.layer(&key(&blob)).unwrap().unwrap()).is_some());
}

#[test]
fn a_removed_layer_is_gone_but_for_those_who_hold_it() {
    let fixture = Fixture::new();
    let cache = fixture.open();
    let blob = some_blob(0);
    let layer = publish(&cache, &blob);
    fill(&layer, &blob);
    cache.remove(&key(&blob)).unwrap();
    cache.remove(&key(&blob)).unwrap();
    assert!(cache.layer(&key(&blob)).unwrap().is_none());
    for below in ["index", "cache"] {
        assert_eq!(fs::read_dir(fixture.dir.path().join(below)).unwrap().count(), 0, "{below}");
    }
    assert_eq!(whole(&layer).unwrap(), content(&layer, &blob));
    // It can come back, empty, while the old one is still held.
    let again = publish(&cache, &blob);
    assert!(whole(&again).is_none());
    fill(&again, &blob);
    assert!(whole(&again).is_some());
}

#[test]
fn derived_trees_are_published_checked_and_removed_with_the_layer() {
    let fixture = Fixture::new();
    let blob = some_blob(0);
    let cache = fixture.open();
    let layer = publish(&cache, &blob);
    let write = |bytes: &'static [u8]| {
        layer.publish_tree(|out| out.write_all(bytes).map_err(|error| error.to_string())).unwrap()
    };
    let id = write(b"a tree");
    assert_eq!(id, write(b"a tree"));
    assert_ne!(id, write(b"another tree"));
    assert_eq!(layer.derived_tree(id).unwrap().bytes(), b"a tree");
    drop((layer, cache));

    let cache = fixture.open();
    let layer = cache.layer(&key(&blob)).unwrap().unwrap();
    assert_eq!(layer.derived_tree(id).unwrap().bytes(), b"a tree");
    drop((layer, cache));
    let damaged = fs::read_dir(fixture.only("index")).unwrap().map(|entry| entry.unwrap().path());
    for path in damaged.filter(|path| path.to_str().unwrap().contains("tree-")) {
        fs::write(path, "A tree").unwrap();
    }
    let cache = fixture.open();
    let layer = cache.layer(&key(&blob)).unwrap().unwrap();
    assert!(matches!(layer.derived_tree(id), Err(CacheError::Damaged { .. })));
}

#[test]
fn closed_layers_keep_unsynced_chunks_safe() {
    let fixture = Fixture::new();
    let config = Config { open_layers: 1, ..fixture.config(1) };
    let cache = Cache::open(config).unwrap();
    let (first, second) = (some_blob(0), some_blob(1));
    fill(&publish(&cache, &first), &first);
    // Closes the first.
    fill(&publish(&cache, &second), &second);
    cache.sync().unwrap();
    drop(cache);
    let cache = Cache::open(fixture.config(2)).unwrap();
    for blob in [&first, &second] {
        assert!(whole(&cache.layer(&key(blob)).unwrap().unwrap()).is_some());
    }
}
