//! Layers that come as they should.

use super::*;

#[test]
fn every_compression_gives_the_same_content() {
    runtime().block_on(async {
        let tar = some_tar(1, 20, 200_000);
        let zstd = zstd::encode_all(&tar[..], 3).unwrap();
        for blob in [
            Blob::gzip(&tar),
            Blob::new(zstd, &tar, Compression::Zstd),
            Blob::new(tar.clone(), &tar, Compression::None),
        ] {
            let fixture = Fixture::new();
            let source = TestSource::new(&blob, |_| Then::Right);
            let layer = fixture.stream(&blob, &[Arc::clone(&source)]).await.unwrap();
            check(&blob, &layer);
            assert_eq!((source.requests(), fixture.kept(&blob)), (vec![0], None));
            let progress = &fixture.progress;
            assert_eq!((progress.total(), progress.fetched()), (blob.wanted.size, blob.wanted.size));
            assert_eq!(progress.stored(), tar.len() as u64);
            assert_eq!(fixture.fetcher.stats().demand_bytes, blob.wanted.size);
            drop(layer);
            // The next process has it too, and asks nobody.
            let fixture = fixture.restart();
            check(&blob, &fixture.stream(&blob, &[]).await.unwrap());
        }
    });
}

#[test]
fn what_was_evicted_comes_back_by_range() {
    runtime().block_on(async {
        let blob = Blob::gzip(&some_tar(1, 30, 1_000_000));
        let fixture = Fixture::new();
        let source = TestSource::new(&blob, |_| Then::Right);
        let layer = fixture.stream(&blob, &[Arc::clone(&source)]).await.unwrap();
        assert!(layer.index().unit_count() > 3);
        let all: Vec<_> = (0..layer.index().chunk_count()).map(peel_layer::ChunkId).collect();
        layer.evict(&all).unwrap();
        let reader = fixture.fetcher.layer(Arc::clone(&layer), vec![source]);
        let place = layer.index().data_size().0 / 2;
        let expected = blob.data();
        let at = usize::try_from(place).unwrap();
        let read = reader.read(DataOffset(place)..DataOffset(place + 5000)).await.unwrap();
        assert!(read[..] == expected[at..at + 5000]);
        assert!(fixture.fetcher.stats().demand_bytes < blob.wanted.size * 3 / 2, "only what is needed");
    });
}

#[test]
fn several_at_once_and_more_than_have_a_turn() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let blobs: Vec<_> = (0..7).map(some_blob).collect();
        let streams = blobs.iter().map(|blob| async {
            fixture.stream(blob, &[TestSource::new(blob, |_| Then::Right)]).await.unwrap()
        });
        for (layer, blob) in futures::future::join_all(streams).await.iter().zip(&blobs) {
            check(blob, layer);
        }
    });
}

#[test]
fn a_blob_that_is_here_is_read_where_it_is() {
    runtime().block_on(async {
        let blob = some_blob(1);
        let fixture = Fixture::new();
        let path = fixture.dir.path().join("content");
        let remote = TestSource::new(&blob, |_| Then::Right);
        let sources: [Arc<dyn BlobSource>; 2] =
            [Arc::new(FileSource::new(&path)), Arc::clone(&remote) as Arc<dyn BlobSource>];
        std::fs::write(&path, &blob.bytes).unwrap();
        let layer = fixture.fetcher.stream(&blob.wanted, &sources, &fixture.progress).await.unwrap();
        check(&blob, &layer);
        assert!(remote.requests().is_empty());
        // Damaged: the registry has it.
        let blob = some_blob(2);
        let mut bytes = blob.bytes.clone();
        bytes[1000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let remote = TestSource::new(&blob, |_| Then::Right);
        let sources: [Arc<dyn BlobSource>; 2] =
            [Arc::new(FileSource::new(&path)), Arc::clone(&remote) as Arc<dyn BlobSource>];
        let layer = fixture.fetcher.stream(&blob.wanted, &sources, &fixture.progress).await.unwrap();
        check(&blob, &layer);
        assert_eq!(remote.requests(), [0]);
    });
}
