//! A chunk is fetched once, and the work is nobody's in particular.

use peel_layer::serve::ReadError;

use super::*;

#[tokio::test]
async fn any_number_of_readers_make_one_request() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 60_000, 1);
    let source = TestSource::held(&blob);
    let reader = fixture.reader(&blob, &[&source]);
    let expected = content(reader.layer(), &blob);
    let tasks: Vec<_> = (0..50_usize)
        .map(|start| {
            let reader = Arc::clone(&reader);
            let range = DataOffset(start as u64)..DataOffset(start as u64 + 100);
            tokio::spawn(async move { (start, reader.read(range).await.unwrap()) })
        })
        .collect();
    until(|| !source.reads().is_empty()).await;
    source.gate.add_permits(1);
    for task in tasks {
        let (start, bytes) = task.await.unwrap();
        assert_eq!(*bytes, expected[start..start + 100]);
    }
    assert_eq!(source.reads().len(), 1);
    let stats = fixture.fetcher.stats();
    assert_eq!((stats.hits, stats.misses, stats.requests), (0, 50, 1));
    assert_eq!(stats.demand_bytes, source.reads()[0].end - source.reads()[0].start);
}

#[tokio::test]
async fn a_reader_that_goes_does_not_take_the_work_along() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 60_000, 1);
    let source = TestSource::held(&blob);
    let reader = fixture.reader(&blob, &[&source]);
    let task = tokio::spawn({
        let reader = Arc::clone(&reader);
        async move { reader.read(DataOffset(0)..DataOffset(1)).await }
    });
    until(|| !source.reads().is_empty()).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    source.gate.add_permits(1);
    until(|| reader.read_now(DataOffset(0)..DataOffset(60_000)).is_some()).await;
    assert_eq!(source.reads().len(), 1);
}

#[tokio::test]
async fn a_panic_in_the_work_is_an_error_at_once() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    let source = TestSource::new(&blob, |number| if number == 0 { Answer::Panic } else { Answer::Right });
    let reader = fixture.reader(&blob, &[&source]);
    let error = reader.read(everything(&reader)).await.unwrap_err();
    assert!(matches!(error, ReadError::Local(_)), "{error}");
    // And nobody waits for it any more.
    assert!(reader.read(everything(&reader)).await.is_ok());
}

#[tokio::test]
async fn what_was_fetched_needs_no_source_in_the_next_process() {
    let fixture = Fixture::new();
    let blob = blob_of(3, 100_000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    let expected = content(reader.layer(), &blob);
    assert!(reader.read_now(everything(&reader)).is_none());
    assert_eq!(*reader.read(everything(&reader)).await.unwrap(), expected);
    // Stored right after it was handed out.
    until(|| reader.read_now(everything(&reader)).is_some()).await;
    drop(reader);
    let Fixture { dir, cache, fetcher } = fixture;
    drop((cache, fetcher));

    let cache = Arc::new(Cache::open(cache_config(&dir)).unwrap());
    let fetcher = Fetcher::new(quiet(), Arc::clone(&cache), Handle::current());
    let reader = fetcher.layer(cache.layer(&key(&blob)).unwrap().unwrap(), Vec::new());
    assert_eq!(*reader.read_now(everything(&reader)).unwrap(), expected);
    assert_eq!((fetcher.stats().hits, fetcher.stats().fetched_bytes()), (1, 0));
}

#[tokio::test]
async fn one_reader_for_all_images_that_have_the_layer() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    let (first, second) =
        (TestSource::new(&blob, |_| Answer::Right), TestSource::new(&blob, |_| Answer::Right));
    let reader = fixture.reader(&blob, &[&first]);
    assert!(Arc::ptr_eq(&reader, &fixture.reader(&blob, &[&second])));
    reader.read(everything(&reader)).await.unwrap();
    assert_eq!((first.reads().len(), second.reads().len()), (0, 1));
}
