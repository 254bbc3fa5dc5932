//! Layers read whole in the background.

use peel_layer::{
    serve::ReadError,
    testing::{TarEntry, ZstdChunkedWriter, ZstdVariant},
};

use super::*;
use crate::Content;

/// The pieces in order: no byte twice, none left out.
fn assert_whole(source: &TestSource, blob: &[u8]) {
    let mut at = 0;
    for read in source.reads() {
        assert_eq!(read.start, at);
        assert!(read.end - read.start <= 1 << 20);
        at = read.end;
    }
    assert_eq!(at, blob.len() as u64);
}

#[tokio::test]
async fn everything_is_read_once_stored_and_named() {
    for pack in [0, 200_000] {
        let file = |number: u64| TarEntry::file(&format!("f{number}"), &noise(700_000, number));
        let entries: Vec<_> = (0..5).map(file).collect();
        let blob = EStargzWriter::new().chunk_size(64 << 10).pack(pack).entries(&entries).finish();
        let fixture = Fixture::new();
        let source = TestSource::new(&blob, |_| Answer::Right);
        let reader = fixture.reader(&blob, &[&source]);
        assert_eq!(reader.complete().await.unwrap(), Content::Tar(blob.diff_id));
        assert_whole(&source, &blob.blob);
        assert_eq!(reader.layer().present_bytes(), reader.layer().index().content_size());
        assert_eq!(*reader.read_now(everything(&reader)).unwrap(), content(reader.layer(), &blob));
        let stats = fixture.fetcher.stats();
        assert_eq!((stats.background_bytes, stats.demand_bytes), (blob.blob.len() as u64, 0));
        assert_eq!(stats.mismatches, 0);
    }
}

#[tokio::test]
async fn zstd_chunked_is_read_whole_too() {
    let entries: Vec<_> =
        (0..4).map(|number| TarEntry::file(&format!("f{number}"), &noise(300_000, number))).collect();
    let blob = ZstdChunkedWriter::new(ZstdVariant::Stargz, 64 << 10).entries(&entries).finish();
    let fixture = Fixture::new();
    let (bytes, ..) = blob.index(&Limits::default()).unwrap();
    let key = IndexKey { layer: blob.layer(), described_by: blob.toc_digest };
    let layer = fixture.cache.publish(&key, |files| bytes.write_to(files)).unwrap();
    let source = TestSource::of_bytes("registry.test/app", blob.blob.clone(), |_| Answer::Right);
    let reader = fixture.fetcher.layer(layer, vec![Arc::clone(&source) as Arc<dyn BlobSource>]);
    assert_eq!(reader.complete().await.unwrap(), Content::Tar(blob.diff_id));
    assert_whole(&source, &blob.blob);
    assert_eq!(reader.layer().present_bytes(), reader.layer().index().content_size());
}

#[tokio::test]
async fn readers_come_first() {
    let fixture = Fixture::new();
    let (blob, other) = (blob_of(3, 1_000_000, 1), blob_of(1, 1000, 2));
    let (source, held) = (TestSource::held(&blob), TestSource::held(&other));
    let (reader, waiting) = (fixture.reader(&blob, &[&source]), fixture.reader(&other, &[&held]));
    let read = tokio::spawn(async move { waiting.read(everything(&waiting)).await.map(drop) });
    until(|| held.reads().len() == 1).await;
    let work = tokio::spawn({
        let reader = Arc::clone(&reader);
        async move { reader.complete().await }
    });
    until(|| source.reads().len() == 1).await;
    // Somebody waits: little is asked for, and nothing else until that has come.
    assert_eq!(source.only_read(), 0..256 << 10);
    held.gate.add_permits(1);
    read.await.unwrap().unwrap();
    source.gate.add_permits(1 << 20);
    assert!(matches!(work.await.unwrap().unwrap(), Content::Tar(_)));
    assert_whole(&source, &blob.blob);
    assert_eq!(source.reads()[2].end - source.reads()[2].start, 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lies_is_not_the_layers_fault() {
    let blob = blob_of(2, 100_000, 1);
    let fixture = Fixture::new();
    let liar = TestSource::named("liar", &blob, |_| Answer::Wrong);
    let honest =
        TestSource::named("honest", &blob, |number| if number == 0 { Answer::Short } else { Answer::Right });
    let reader = fixture.reader(&blob, &[&liar, &honest]);
    assert_eq!(reader.complete().await.unwrap(), Content::Tar(blob.diff_id));
    assert_eq!((liar.reads().len(), honest.reads().len()), (1, 2));
    assert_eq!(*reader.read_now(everything(&reader)).unwrap(), content(reader.layer(), &blob));

    let fixture = Fixture::new();
    let reader = fixture.reader(&blob, &[&liar]);
    assert!(matches!(reader.complete().await, Err(ReadError::Corrupt(_))));
    assert_eq!(fixture.fetcher.stats().mismatches, 1);
}

#[tokio::test(start_paused = true)]
async fn sources_that_fail_end_it_in_time_and_the_next_try_has_less_to_store() {
    let blob = blob_of(3, 1_000_000, 1);
    for (answer, timed_out) in [(Answer::Transient, true), (Answer::Hang, true), (Answer::Permanent, false)] {
        let fixture = Fixture::new();
        let source = TestSource::new(&blob, move |number| if number == 0 { Answer::Right } else { answer });
        let reader = fixture.reader(&blob, &[&source]);
        let start = tokio::time::Instant::now();
        let error = reader.complete().await.unwrap_err();
        assert_eq!(matches!(error, ReadError::TimedOut(_)), timed_out, "{error}");
        let limit = Config::default().read_timeout + Config::default().request_timeout;
        assert!(start.elapsed() <= limit);
        assert!(reader.layer().present_bytes() > 500_000);
    }
}

#[tokio::test]
async fn what_cannot_be_decompressed_has_no_diff_id() {
    let mut blob = blob_of(1, 100_000, 1);
    // A byte of the file: the blob is what it is, and has its own digest.
    let at = blob.blob.len() / 2;
    blob.blob[at] ^= 0xff;
    let fixture = Fixture::new();
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    assert!(matches!(reader.complete().await.unwrap(), Content::Undecodable(_)));
    assert!(reader.layer().present_bytes() < 100_000);
}

#[tokio::test]
async fn what_is_here_counts_for_the_digests_too() {
    let fixture = Fixture::new();
    let blob = blob_of(2, 300_000, 1);
    let source = TestSource::new(&blob, |_| Answer::Right);
    let reader = fixture.reader(&blob, &[&source]);
    reader.read(everything(&reader)).await.unwrap();
    until(|| reader.layer().present_bytes() == 600_000).await;
    assert_eq!(reader.complete().await.unwrap(), Content::Tar(blob.diff_id));
    assert_eq!(fixture.fetcher.stats().background_bytes, blob.blob.len() as u64);
}
