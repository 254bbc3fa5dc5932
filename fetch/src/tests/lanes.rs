//! Who goes first, and prefetching on purpose.

use peel_layer::serve::ReadError;

use super::*;
use crate::{Lane, Progress};

#[tokio::test]
async fn prefetch_brings_everything_and_says_how_far_it_is() {
    let fixture = Fixture::new();
    let blob = blob_of(5, 3_000_000, 1);
    let source = TestSource::held(&blob);
    let reader = fixture.reader(&blob, &[&source]);
    let progress = Arc::new(Progress::default());
    let task = tokio::spawn({
        let (reader, progress) = (Arc::clone(&reader), Arc::clone(&progress));
        async move {
            let ranges = [chunk(&reader, 0), everything(&reader)];
            reader.prefetch(ranges, Lane::Prefetch, &progress).await
        }
    });
    until(|| !source.reads().is_empty()).await;
    assert_eq!((progress.done(), progress.total()), (0, 15_000_000 + (64 << 10)));
    source.gate.add_permits(1 << 20);
    task.await.unwrap().unwrap();
    assert_eq!(progress.done(), progress.total());
    assert_eq!(reader.layer().present_bytes(), 15_000_000);
    assert!(source.reads().iter().all(|read| read.end - read.start <= 4 << 20));
    let stats = fixture.fetcher.stats();
    assert!(stats.prefetch_bytes > 0);
    assert_eq!((stats.demand_bytes, stats.misses), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_prefetch_that_cannot_be_had_says_why() {
    let fixture = Fixture::new();
    let blob = blob_of(2, 1000, 1);
    let source = TestSource::new(&blob, |_| Answer::Permanent);
    let reader = fixture.reader(&blob, &[&source]);
    let outcome = reader.prefetch([everything(&reader)], Lane::Background, &Progress::default()).await;
    assert!(matches!(outcome, Err(ReadError::Unavailable(_))));
}

#[tokio::test]
async fn readers_of_other_layers_do_not_wait_for_a_stuck_one() {
    let fixture = Fixture::new();
    let (stuck_blob, blob) = (blob_of(100, 5000, 1), blob_of(3, 5000, 2));
    let stuck_source = TestSource::held(&stuck_blob);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let stuck = fixture.reader(&stuck_blob, &[&stuck_source]);
    let reader = fixture.reader(&blob, &[&source]);
    for id in 0..100 {
        let stuck = Arc::clone(&stuck);
        tokio::spawn(async move { stuck.read(chunk(&stuck, id)).await });
    }
    until(|| stuck_source.reads().len() == Config::default().demand_per_layer).await;
    assert_eq!(*reader.read(everything(&reader)).await.unwrap(), content(reader.layer(), &blob));
}

#[tokio::test]
async fn a_reader_makes_queued_background_work_urgent() {
    let fixture = Fixture::with(Config { background_total: 1, range_max: 100_000, ..quiet() });
    let blob = blob_of(1, 1_000_000, 1);
    let source = TestSource::held(&blob);
    let reader = fixture.reader(&blob, &[&source]);
    tokio::spawn({
        let reader = Arc::clone(&reader);
        async move { reader.prefetch([everything(&reader)], Lane::Background, &Progress::default()).await }
    });
    until(|| source.reads().len() == 1).await;
    // The last chunk is queued behind all others. Its reader gets it though not one of them has come.
    let last = reader.layer().index().chunk_count() - 1;
    let task = tokio::spawn({
        let reader = Arc::clone(&reader);
        async move { reader.read(chunk(&reader, last)).await }
    });
    let wanted = reader.layer().index().blob_range(ChunkId(last));
    let asked = || source.reads().iter().any(|read| read.end == wanted.end.0);
    until(asked).await;
    source.gate.add_permits(1 << 20);
    task.await.unwrap().unwrap();
    until(|| reader.layer().present_bytes() == 1_000_000).await;
}
