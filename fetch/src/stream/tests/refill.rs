//! Evicted chunks of layers that cannot be decoded from anywhere but their beginning.

use peel_layer::{
    ChunkId,
    serve::{ReadError, Work},
};

use super::{
    guard::{PIECE, TestWatch},
    *,
};
use crate::LayerReader;

/// A layer of one zstd frame, streamed, and every chunk of it evicted. Units are too large from 64 KiB on.
async fn evicted(fixture: &mut Fixture, tar: &[u8], sources: &[Arc<TestSource>]) -> (Blob, Arc<LayerReader>) {
    let config = Config { unit_max: 64 << 10, ..quick() };
    fixture.fetcher = Fetcher::new(config, Arc::clone(&fixture.cache), Handle::current());
    let blob = Blob::new(zstd::encode_all(tar, 3).unwrap(), tar, Compression::Zstd);
    let layer = fixture.stream(&blob, &[TestSource::new(&blob, |_| Then::Right)]).await.unwrap();
    assert_eq!(layer.index().unit_count(), 1);
    layer.evict(&(0..layer.index().chunk_count()).map(ChunkId).collect::<Vec<_>>()).unwrap();
    let sources = sources.iter().map(|source| Arc::clone(source) as Arc<dyn BlobSource>).collect();
    let reader = fixture.fetcher.layer(layer, sources);
    (blob, reader)
}

fn some_zstd() -> (Vec<u8>, Blob) {
    let tar = some_tar(1, 40, 100_000);
    let blob = Blob::new(zstd::encode_all(&tar[..], 3).unwrap(), &tar, Compression::Zstd);
    (tar, blob)
}

#[test]
fn readers_share_one_stream_and_everything_is_back() {
    runtime().block_on(async {
        let (tar, blob) = some_zstd();
        let source =
            TestSource::new(&blob, |request| if request == 0 { Then::End(70_000) } else { Then::Right });
        let mut fixture = Fixture::new();
        let (blob, reader) = evicted(&mut fixture, &tar, &[Arc::clone(&source)]).await;
        let expected = blob.data();
        let reads = (1..9).map(|part| {
            let (reader, expected) = (&reader, &expected);
            async move {
                let place = expected.len() / 9 * part;
                let read =
                    reader.read(DataOffset(place as u64)..DataOffset(place as u64 + 9000)).await.unwrap();
                assert!(read[..] == expected[place..place + 9000]);
            }
        });
        futures::future::join_all(reads).await;
        // The chunks behind the last that somebody waited for come too.
        while reader.refill.lock().is_some() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        check(&blob, reader.layer());
        assert_eq!(source.requests(), [0, 70_000]);
    });
}

#[test]
fn wrong_bytes_come_from_elsewhere_or_nobody_reads_them() {
    runtime().block_on(async {
        let (tar, blob) = some_zstd();
        let liar = TestSource::named("a", &blob, |_| Then::Flip(50_000));
        let honest = TestSource::named("b", &blob, |_| Then::Right);
        let mut fixture = Fixture::new();
        let (blob, reader) = evicted(&mut fixture, &tar, &[Arc::clone(&liar), honest]).await;
        let (expected, all) = (blob.data(), DataOffset(0)..reader.layer().index().data_size());
        let read = reader.read(all.clone()).await.unwrap();
        assert!(read[..expected.len()] == expected[..]);

        let mut fixture = Fixture::new();
        let (_, reader) = evicted(&mut fixture, &tar, &[liar]).await;
        assert!(matches!(reader.read(all).await, Err(ReadError::Corrupt(_))));
        assert!(reader.refill.lock().is_none());
    });
}

/// Another blob of the same length: the first files of `blob`'s and no others, and a frame that decoders skip.
fn cut_short(blob: &Blob) -> Vec<u8> {
    let mut bytes = zstd::encode_all(&some_tar(1, 2, 100_000)[..], 3).unwrap();
    let padding = blob.bytes.len() - bytes.len() - 8;
    bytes.extend(0x184D_2A50_u32.to_le_bytes());
    bytes.extend(u32::try_from(padding).unwrap().to_le_bytes());
    bytes.resize(blob.bytes.len(), 0);
    bytes
}

#[test]
fn a_blob_that_ends_too_early_is_not_asked_for_again_and_again() {
    runtime().block_on(async {
        let (tar, blob) = some_zstd();
        let script = TestSource::named("a", &blob, |_| Then::Right);
        let liar = TestSource { bytes: cut_short(&blob), ..Arc::into_inner(script).unwrap() };
        let mut fixture = Fixture::new();
        let (_, reader) = evicted(&mut fixture, &tar, &[Arc::new(liar)]).await;
        let end = reader.layer().index().data_size();
        let error = reader.read(DataOffset(end.0 - 4096)..end).await.unwrap_err();
        assert!(matches!(error, ReadError::Corrupt(_)), "{error}");
        assert!(reader.refill.lock().is_none());
    });
}

#[test]
fn a_registry_that_is_away_is_an_error_in_time() {
    runtime().block_on(async {
        let (tar, blob) = some_zstd();
        let gone = TestSource::new(&blob, |_| Then::Permanent(0));
        let mut fixture = Fixture::new();
        let (_, reader) = evicted(&mut fixture, &tar, &[gone]).await;
        let error = reader.read(DataOffset(0)..DataOffset(4096)).await.unwrap_err();
        assert!(matches!(error, ReadError::Unavailable(_)), "{error}");
    });
}

#[test]
fn bytes_that_were_the_daemons_death_are_refused_and_what_comes_before_them_is_served() {
    runtime().block_on(async {
        let (tar, blob) = some_zstd();
        let source = TestSource::new(&blob, |_| Then::Right);
        let mut fixture = Fixture::new();
        let (blob, reader) = evicted(&mut fixture, &tar, &[source]).await;
        let piece = 32 * PIECE..33 * PIECE;
        let watch = TestWatch::new(vec![Work::Untar(blob.wanted.identity.layer, piece.clone())]);
        fixture.fetcher.watched_by(watch);
        let (before, behind) = (DataOffset(PIECE), DataOffset(piece.end));
        reader.read(before..DataOffset(before.0 + 4096)).await.unwrap();
        let error = reader.read(behind..DataOffset(behind.0 + 4096)).await.unwrap_err();
        assert!(matches!(error, ReadError::Local(_)), "{error}");
        assert!(error.to_string().contains("the daemon died of reading its tar"), "{error}");
    });
}
