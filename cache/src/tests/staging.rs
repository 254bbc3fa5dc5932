//! Layers that are streamed: their folder, and how they become visible.

use peel_layer::{
    DiffId, IndexFiles, LayerDigest,
    proof::{LayerIdentity, LayerProof},
    testing::IndexBytes,
};

use super::*;
use crate::{CacheError, PublishError, Staged};

fn proof(layer: LayerDigest) -> LayerProof {
    let identity = LayerIdentity { layer, diff_id: DiffId::of(b"tar") };
    LayerProof::check(identity, identity).unwrap()
}

fn index(blob: &EStargz) -> IndexBytes {
    blob.index(&Limits::default()).unwrap().bytes
}

/// The folder of `blob`'s layer with all its content written, but for padding at the end.
fn streamed(cache: &Cache, blob: &EStargz) -> Staged {
    let staged = cache.staging(blob.layer()).unwrap().unwrap();
    staged.blob().unwrap().append(0, b"compressed").unwrap();
    let data = staged.data().unwrap();
    let table = peel_layer::LayerIndex::parse(index(blob).table).unwrap();
    for id in (0..table.chunk_count()).map(ChunkId) {
        let chunk = decode_chunk(&table, id, blob.range(table.blob_range(id))).unwrap().unwrap();
        data.write(table.chunk(id).data.start, chunk.bytes()).unwrap();
    }
    staged
}

fn publish_streamed(cache: &Cache, blob: &EStargz) -> Arc<Layer> {
    let staged = streamed(cache, blob);
    cache
        .publish_staged(&key(blob), staged, &proof(blob.layer()), |files| index(blob).write_to(files))
        .unwrap()
}

/// Another file of that name: who has mapped the old one keeps it.
fn replace(path: &std::path::Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_folder_is_one_mans_and_found_again() {
    let fixture = Fixture::new();
    let cache = fixture.open();
    let layer = LayerDigest::of(b"layer");
    assert_eq!(cache.staged().unwrap(), []);
    let staged = cache.staging(layer).unwrap().unwrap();
    assert!(cache.staging(layer).unwrap().is_none());
    let blob = staged.blob().unwrap();
    blob.append(0, &[7; 5000]).unwrap();
    staged.data().unwrap().write(DataOffset(4096), b"x").unwrap();
    let found = &cache.staged().unwrap()[0];
    assert!(found.busy && found.disk_bytes >= 9096, "{found:?}");
    assert!(!cache.drop_staged(layer).unwrap());
    drop((staged, blob, cache));

    let cache = fixture.open();
    let found = &cache.staged().unwrap()[0];
    // The data file is gone.
    assert!(found.layer == layer && !found.busy && found.disk_bytes < 9096, "{found:?}");
    let staged = cache.staging(layer).unwrap().unwrap();
    let blob = staged.blob().unwrap();
    let mut buffer = [0; 6000];
    assert_eq!((blob.length().unwrap(), blob.read(1000, &mut buffer).unwrap()), (5000, 4000));
    assert_eq!(blob.read(5000, &mut buffer).unwrap(), 0);
    blob.cut(0).unwrap();
    assert_eq!(staged.blob().unwrap().length().unwrap(), 0);
    drop(staged);
    assert!(cache.drop_staged(layer).unwrap() && cache.drop_staged(layer).unwrap());
    assert_eq!(cache.staged().unwrap(), []);
    assert!(cache.staging(layer).unwrap().is_some());
}

#[test]
fn a_streamed_layer_is_there_with_every_chunk_also_for_the_next_process() {
    let fixture = Fixture::new();
    let blob = some_blob(0);
    let cache = fixture.open();
    let layer = publish_streamed(&cache, &blob);
    assert_eq!(whole(&layer).unwrap(), content(&layer, &blob));
    assert!(ids(&layer).all(|id| layer.chunk(id).is_some()));
    assert_eq!(cache.staged().unwrap(), []);
    assert!(cache.staging(blob.layer()).unwrap().is_some());
    let expected = content(&layer, &blob);
    drop((layer, cache));

    let layer = fixture.open().layer(&key(&blob)).unwrap().unwrap();
    assert_eq!(whole(&layer).unwrap(), expected);
    // Another boot: nothing was synced, so nothing is believed.
    drop(layer);
    let cache = Cache::open(fixture.config(2)).unwrap();
    assert!(whole(&cache.layer(&key(&blob)).unwrap().unwrap()).is_none());
}

#[test]
fn a_synced_streamed_layer_survives_the_machine() {
    let fixture = Fixture::new();
    let blob = some_blob(0);
    let cache = fixture.open();
    publish_streamed(&cache, &blob);
    cache.sync().unwrap();
    drop(cache);
    let cache = Cache::open(fixture.config(2)).unwrap();
    let layer = cache.layer(&key(&blob)).unwrap().unwrap();
    assert_eq!(whole(&layer).unwrap(), content(&layer, &blob));
}

#[test]
fn what_is_not_proven_or_not_its_index_is_not_published() {
    let fixture = Fixture::new();
    let (blob, other) = (some_blob(0), some_blob(1));
    let cache = fixture.open();
    let refused = |proof: &LayerProof, write: &dyn Fn(&mut IndexFiles<'_>) -> Result<(), String>| {
        let error = cache.publish_staged(&key(&blob), streamed(&cache, &blob), proof, write).unwrap_err();
        assert!(cache.layer(&key(&blob)).unwrap().is_none());
        assert_eq!(fs::read_dir(fixture.dir.path().join("index")).unwrap().count(), 0);
        // The compressed bytes stay for the next attempt.
        assert_eq!(cache.staged().unwrap().len(), 1);
        error
    };
    let of = |blob: &EStargz| {
        let bytes = index(blob);
        move |files: &mut IndexFiles<'_>| bytes.write_to(files).map_err(|error| error.to_string())
    };
    let damaged = |error| matches!(error, PublishError::Cache(CacheError::Damaged { .. }));
    assert!(damaged(refused(&proof(other.layer()), &of(&blob))));
    assert!(damaged(refused(&proof(blob.layer()), &of(&other))));
    let content = refused(&proof(blob.layer()), &|_| Err("no".to_owned()));
    assert!(matches!(content, PublishError::Content(text) if text == "no"));
    publish_streamed(&cache, &blob);
}

#[test]
fn a_good_layer_is_kept_and_a_damaged_one_replaced() {
    let fixture = Fixture::new();
    let blob = some_blob(0);
    let cache = fixture.open();
    let first = publish(&cache, &blob);
    assert!(Arc::ptr_eq(&first, &publish_streamed(&cache, &blob)));
    fill(&first, &blob);
    let path = fixture.only("index").join("chunks");
    drop(cache);

    replace(&path, b"rubbish");
    let cache = fixture.open();
    let layer = publish_streamed(&cache, &blob);
    assert_eq!(whole(&layer).unwrap(), content(&layer, &blob));
    assert!(whole(&first).unwrap() == content(&layer, &blob));
}

#[test]
fn the_holder_of_a_damaged_layer_does_not_take_the_new_files_away() {
    let fixture = Fixture::new();
    let blob = some_blob(0);
    let cache = Cache::open(Config { open_layers: 1, ..fixture.config(1) }).unwrap();
    let held = publish(&cache, &blob);
    let chunk = decoded(&held, &blob, ChunkId(0));
    held.admit(ChunkId(0), &chunk);
    let store = Arc::clone(&held.store);
    let path = fixture.only("index").join("chunks");
    drop(held);
    // Closes it: only the store is still held, as by a sync that is under way.
    publish(&cache, &some_blob(1));
    replace(&path, b"rubbish");
    let layer = publish_streamed(&cache, &blob);
    store.admit(1, 0, &chunk, crate::Urgency::Demand);
    drop((layer, store));
    let layer = cache.layer(&key(&blob)).unwrap().unwrap();
    assert_eq!(whole(&layer).unwrap(), content(&layer, &blob));
}
