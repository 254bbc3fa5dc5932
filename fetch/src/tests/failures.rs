//! Sources that fail, lie and hang; disks that are full.

use peel_layer::serve::ReadError;
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn transient_failures_are_waited_out() {
    for failure in [Answer::Transient, Answer::Short] {
        let fixture = Fixture::new();
        let blob = blob_of(1, 1000, 1);
        let source = TestSource::new(&blob, move |number| if number < 4 { failure } else { Answer::Right });
        let reader = fixture.reader(&blob, &[&source]);
        reader.read(everything(&reader)).await.unwrap();
        assert_eq!(source.reads().len(), 5);
        assert_eq!(fixture.fetcher.stats().retries, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_asks_for_an_hour_is_asked_again_in_time() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    let hour = Duration::from_secs(3600);
    let source =
        TestSource::new(&blob, move |number| if number == 0 { Answer::Busy(hour) } else { Answer::Right });
    let reader = fixture.reader(&blob, &[&source]);
    let start = Instant::now();
    reader.read(everything(&reader)).await.unwrap();
    assert_eq!(start.elapsed(), Config::default().retry_after_max);
}

#[tokio::test(start_paused = true)]
async fn the_next_source_is_asked_without_a_pause() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    for answer in [Answer::Transient, Answer::Permanent, Answer::Short] {
        let bad = TestSource::named("bad", &blob, move |_| answer);
        let good = TestSource::named("good", &blob, |_| Answer::Right);
        let reader = fixture.reader(&blob, &[&bad, &good]);
        let start = Instant::now();
        reader.read(everything(&reader)).await.unwrap();
        assert_eq!(Instant::now(), start);
        assert_eq!((bad.reads().len(), good.reads().len()), (1, 1));
        drop(reader);
        fixture.cache.remove(&key(&blob)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_left_for_the_next() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    let bad = TestSource::named("bad", &blob, |_| Answer::Hang);
    let good = TestSource::named("good", &blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&bad, &good]);
    let start = Instant::now();
    reader.read(everything(&reader)).await.unwrap();
    assert_eq!(start.elapsed(), Config::default().request_timeout);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_an_error_that_names_layer_and_source() {
    for answer in [Answer::Hang, Answer::Transient] {
        let fixture = Fixture::new();
        let blob = blob_of(1, 1000, 1);
        let source = TestSource::new(&blob, move |_| answer);
        let reader = fixture.reader(&blob, &[&source]);
        let start = Instant::now();
        let error = reader.read(everything(&reader)).await.unwrap_err();
        assert!(matches!(error, ReadError::TimedOut(_)), "{error}");
        assert!(start.elapsed() <= Config::default().read_timeout + Duration::from_millis(10));
        let text = error.to_string();
        assert!(text.contains(&blob.layer().hex()) && text.contains("registry.test/app"), "{text}");
        assert_eq!(fixture.fetcher.stats().failed_reads, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn another_patience_holds_for_the_next_read() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    let source = TestSource::new(&blob, |_| Answer::Hang);
    let reader = fixture.reader(&blob, &[&source]);
    let patience = Duration::from_secs(7);
    fixture.fetcher.configure(Config { read_timeout: patience, ..Config::default() });
    let start = Instant::now();
    reader.read(everything(&reader)).await.unwrap_err();
    let took = start.elapsed();
    assert!(took >= patience && took <= patience + Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_gets_all_of_its_own_patience() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    // Answers only after the first reader's job has given up.
    let start = Instant::now();
    let down = Config::default().read_timeout + Duration::from_secs(20);
    let source =
        TestSource::new(
            &blob,
            move |_| {
                if start.elapsed() < down { Answer::Transient } else { Answer::Right }
            },
        );
    let reader = fixture.reader(&blob, &[&source]);
    let first = tokio::spawn({
        let reader = Arc::clone(&reader);
        async move { reader.read(everything(&reader)).await }
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    reader.read(everything(&reader)).await.unwrap();
    assert!(matches!(first.await.unwrap(), Err(ReadError::TimedOut(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_asked_for_three_times() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    let source = TestSource::new(&blob, |_| Answer::Permanent);
    let reader = fixture.reader(&blob, &[&source]);
    let start = Instant::now();
    let error = reader.read(everything(&reader)).await.unwrap_err();
    assert!(matches!(&error, ReadError::Unavailable(text) if text.contains("gone")), "{error}");
    assert_eq!(source.reads().len(), 3);
    assert!(start.elapsed() < Duration::from_secs(2));

    let reader = fixture.reader(&blob, &[]);
    let error = reader.read(everything(&reader)).await.unwrap_err();
    assert!(matches!(&error, ReadError::Unavailable(text) if text.contains("no source")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_come_from_elsewhere_and_are_never_stored() {
    let fixture = Fixture::new();
    let blob = blob_of(4, 1000, 1);
    let liar = TestSource::named("liar", &blob, |_| Answer::Wrong);
    let good = TestSource::named("good", &blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&liar, &good]);
    assert_eq!(*reader.read(everything(&reader)).await.unwrap(), content(reader.layer(), &blob));
    assert_eq!(liar.reads().len(), 1);
    // Only the damaged chunk is asked for again.
    let index = reader.layer().index();
    let damaged = index.blob_range(ChunkId(0));
    assert_eq!(good.only_read(), damaged.start.0..damaged.end.0);
    assert_eq!(fixture.fetcher.stats().mismatches, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lone_source_that_lies_is_asked_once_more() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 1000, 1);
    let source = TestSource::new(&blob, |number| if number == 0 { Answer::Wrong } else { Answer::Right });
    let reader = fixture.reader(&blob, &[&source]);
    reader.read(everything(&reader)).await.unwrap();

    let other = blob_of(1, 1000, 2);
    let source = TestSource::new(&other, |_| Answer::Wrong);
    let reader = fixture.reader(&other, &[&source]);
    let error = reader.read(everything(&reader)).await.unwrap_err();
    assert!(matches!(&error, ReadError::Corrupt(text) if text.contains("registry.test/app")), "{error}");
    assert_eq!(source.reads().len(), 2);
    assert_eq!(reader.layer().present_bytes(), 0);
}

#[tokio::test]
async fn without_a_cache_reads_come_from_memory() {
    let fixture = Fixture::new();
    let blob = blob_of(1, 60_000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    let expected = content(reader.layer(), &blob);
    // Refuses every chunk from now on, as a full disk does.
    fixture.cache.remove(&key(&blob)).unwrap();
    for start in (0..60_000).step_by(1000) {
        let range = DataOffset(start as u64)..DataOffset(start as u64 + 1000);
        assert_eq!(*reader.read(range).await.unwrap(), expected[start..start + 1000]);
    }
    assert_eq!(source.reads().len(), 1);
}

#[tokio::test]
async fn a_deleted_cache_heals() {
    let fixture = Fixture::new();
    let blob = blob_of(3, 1000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    let expected = content(reader.layer(), &blob);
    reader.read(chunk(&reader, 0)).await.unwrap();
    // Chunks that came along with the first are being stored while it goes.
    until(|| std::fs::remove_dir_all(fixture.dir.path().join("cache")).is_ok()).await;
    assert_eq!(*reader.read(everything(&reader)).await.unwrap(), expected);
    assert_eq!(*reader.read(everything(&reader)).await.unwrap(), expected);
    // Stored right after it was handed out.
    until(|| reader.layer().present_bytes() == 3000).await;
}
