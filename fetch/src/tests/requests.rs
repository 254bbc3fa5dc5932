//! Which ranges are asked for.

use super::*;

#[tokio::test]
async fn adjacent_chunks_come_in_one_range() {
    let fixture = Fixture::new();
    let blob = blob_of(20, 3000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    let range = chunk(&reader, 2).start..chunk(&reader, 5).end;
    reader.read(range).await.unwrap();
    let index = reader.layer().index();
    let (first, last) = (index.blob_range(ChunkId(2)), index.blob_range(ChunkId(5)));
    assert_eq!(source.only_read(), first.start.0..last.end.0);
    // What lies on both sides of it are two requests.
    reader.read(everything(&reader)).await.unwrap();
    assert_eq!(source.reads().len(), 3);
}

#[tokio::test]
async fn a_small_gap_is_fetched_along_and_a_range_has_a_limit() {
    let fixture = Fixture::with(Config { gap: 16 << 10, range_max: 200_000, ..quiet() });
    let blob = blob_of(100, 10_000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    reader.read(chunk(&reader, 1)).await.unwrap();
    reader.read(chunk(&reader, 0).start..chunk(&reader, 3).end).await.unwrap();
    assert_eq!(source.reads().len(), 2);
    assert!(source.reads()[1].start < source.reads()[0].start);
    assert!(source.reads()[1].end > source.reads()[0].end);

    reader.read(everything(&reader)).await.unwrap();
    assert!(source.reads().iter().all(|read| read.end - read.start <= 200_000));
    assert!(source.reads().len() <= 2 + 6, "{:?}", source.reads());
}

#[tokio::test]
async fn small_demands_are_stretched_and_the_neighbours_are_stored() {
    let fixture = Fixture::with(Config { range_min: 64 << 10, ..quiet() });
    let blob = blob_of(100, 3000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    reader.read(chunk(&reader, 10)).await.unwrap();
    let read = source.reads()[0].clone();
    assert!(read.end - read.start <= 64 << 10 && read.end - read.start > 55 << 10, "{read:?}");
    until(|| reader.read_now(chunk(&reader, 10).start..chunk(&reader, 25).end).is_some()).await;
    assert!(reader.read_now(chunk(&reader, 9)).is_none());
    assert_eq!(source.reads().len(), 1);
}

#[tokio::test]
async fn chunks_of_one_unit_come_together() {
    let fixture = Fixture::new();
    let entries: Vec<_> =
        (0..40).map(|number| TarEntry::file(&format!("f{number}"), &noise(1000, number))).collect();
    let blob = EStargzWriter::new().pack(15_000).entries(&entries).finish();
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    let index = reader.layer().index();
    assert!(index.unit_count() < 10);
    reader.read(chunk(&reader, 3)).await.unwrap();
    let unit = index.chunks_within(index.chunk(ChunkId(3)).units);
    assert!(unit.len() > 4);
    until(|| unit.clone().all(|id| reader.layer().has(ChunkId(id)))).await;
    assert_eq!(*reader.read(everything(&reader)).await.unwrap(), content(reader.layer(), &blob));
    assert!(source.reads().len() <= 3);
}

#[tokio::test]
async fn gaps_and_what_is_past_the_end_are_zeros_without_a_request() {
    let fixture = Fixture::new();
    let blob = blob_of(2, 1000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    for range in [1000..4096, 5096..9000, 1 << 40..(1 << 40) + 5, 7..7] {
        let bytes = reader.read(DataOffset(range.start)..DataOffset(range.end)).await.unwrap();
        assert_eq!(bytes.len() as u64, range.end - range.start);
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
    assert_eq!(source.reads(), []);
}

#[tokio::test]
async fn a_sequential_reader_is_read_ahead_of() {
    let fixture = Fixture::with(Config { readahead_max: 1 << 20, ..quiet() });
    let blob = blob_of(1000, 4000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    let expected = content(reader.layer(), &blob);
    for id in 0..1000 {
        let range = chunk(&reader, id);
        let bytes = reader.read(range.clone()).await.unwrap();
        let start = usize::try_from(range.start.0).unwrap();
        assert_eq!(*bytes, expected[start..start + bytes.len()]);
    }
    let requests = source.reads().len();
    assert!(requests < 120, "{requests} requests for 1000 files");
    let mut reads = source.reads();
    reads.sort_by_key(|read| read.start);
    assert!(reads.windows(2).all(|pair| pair[0].end <= pair[1].start), "something was fetched twice");
}

#[tokio::test]
async fn local_blobs_are_read_and_counted_as_such() {
    let fixture = Fixture::new();
    let blob = blob_of(3, 100_000, 1);
    let path = fixture.dir.path().join("blob");
    std::fs::write(&path, &blob.blob).unwrap();
    let remote = TestSource::new(&blob, |_| Answer::Right);
    let local: Arc<dyn BlobSource> = Arc::new(crate::FileSource::new(&path));
    let layer = fixture.publish(&blob);
    let reader = fixture.fetcher.layer(layer, vec![local, Arc::clone(&remote) as Arc<dyn BlobSource>]);
    reader.read(chunk(&reader, 0)).await.unwrap();
    assert_eq!(fixture.fetcher.stats().fetched_bytes(), 0);
    assert!(fixture.fetcher.stats().local_bytes > 0);
    // containerd deletes it: the registry has it too.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(*reader.read(everything(&reader)).await.unwrap(), content(reader.layer(), &blob));
    assert!(!remote.reads().is_empty());
}
