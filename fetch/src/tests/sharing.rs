//! What the node has already is not fetched again, however it is cut, and nobody's word is taken for it.

use peel_layer::ChunkDigest;

use super::*;

#[tokio::test]
async fn content_of_another_layer_is_not_fetched() {
    let fixture = Fixture::new();
    let files = |names: [&str; 2], extra: &[u8]| {
        let entries = [
            TarEntry::file("new", extra),
            TarEntry::file(names[0], &noise(90_000, 1)),
            TarEntry::file(names[1], &noise(5000, 2)),
        ];
        EStargzWriter::new().chunk_size(64 << 10).entries(&entries).finish()
    };
    let (old, new) = (files(["a", "b"], b"old"), files(["x/a", "y/b"], b"new"));
    let (from_old, from_new) =
        (TestSource::new(&old, |_| Answer::Right), TestSource::new(&new, |_| Answer::Right));
    let reader = fixture.reader(&old, &[&from_old]);
    reader.read(everything(&reader)).await.unwrap();
    until(|| reader.read_now(everything(&reader)).is_some()).await;
    let before = fixture.fetcher.stats();

    let reader = fixture.reader(&new, &[&from_new]);
    let data = chunk(&reader, 1).start..chunk(&reader, 3).end;
    assert_eq!(reader.read(data).await.unwrap().len(), 90_112 + 5000);
    let stats = fixture.fetcher.stats();
    assert_eq!(from_new.reads().len(), 0);
    assert_eq!(stats.fetched_bytes(), before.fetched_bytes());
    assert_eq!((stats.shared_chunks, stats.shared_bytes), (3, 95_000));
    assert_eq!(*reader.read(everything(&reader)).await.unwrap(), content(reader.layer(), &new));
    assert_eq!(from_new.reads().len(), 1);
}

/// The same file, cut every 64 KiB, every 40,000 bytes, and not at all.
#[tokio::test]
async fn a_file_that_is_cut_differently_is_not_fetched() {
    let file = noise(300_000, 1);
    let layer = |chunk_size, extra: &[u8]| {
        let entries = [TarEntry::file("a", extra), TarEntry::file("large", &file)];
        EStargzWriter::new().chunk_size(chunk_size).entries(&entries).finish()
    };
    for (here, wanted) in [(64 << 10, 40_000), (64 << 10, 4 << 20), (4 << 20, 40_000)] {
        let fixture = Fixture::new();
        let (old, new) = (layer(here, b"old"), layer(wanted, b"new"));
        let (from_old, from_new) =
            (TestSource::new(&old, |_| Answer::Right), TestSource::new(&new, |_| Answer::Right));
        let reader = fixture.reader(&old, &[&from_old]);
        reader.read(everything(&reader)).await.unwrap();
        until(|| reader.read_now(everything(&reader)).is_some()).await;

        let reader = fixture.reader(&new, &[&from_new]);
        let last = reader.layer().index().chunk_count() - 1;
        let data = chunk(&reader, 1).start..chunk(&reader, last).end;
        assert_eq!(reader.read(data).await.unwrap()[..], file);
        assert_eq!(from_new.reads().len(), 0, "{here} {wanted}");
        assert_eq!(fixture.fetcher.stats().shared_bytes, 300_000);
    }
}

/// A layer whose TOC gives its own bytes the digest of another layer's file: readers of that file get the right bytes
/// from the registry, and it gets nothing for its own chunks from others.
#[tokio::test]
async fn a_toc_that_claims_another_files_digest_gets_and_poisons_nothing() {
    let fixture = Fixture::new();
    let (honest, forged) = (noise(300_000, 1), noise(300_000, 2));
    let layer = |content: &[u8], claimed: &[u8]| {
        let digest = ChunkDigest::of(claimed).to_string();
        let writer = EStargzWriter::new().chunk_size(64 << 10).entry(&TarEntry::file("large", content));
        writer.finish_edited(|entries| entries[0]["digest"] = digest.into())
    };
    let (liar, victim) = (layer(&forged, &honest), layer(&honest, &honest));
    let (from_liar, from_victim) =
        (TestSource::new(&liar, |_| Answer::Right), TestSource::new(&victim, |_| Answer::Right));
    let first = fixture.reader(&liar, &[&from_liar]);
    assert_eq!(first.read(everything(&first)).await.unwrap()[..300_000], forged);
    until(|| first.read_now(everything(&first)).is_some()).await;
    let second = fixture.reader(&victim, &[&from_victim]);
    assert_eq!(second.read(everything(&second)).await.unwrap()[..300_000], honest);
    assert_eq!(fixture.fetcher.stats().shared_bytes, 0);

    // The other way round: the victim's bytes are here, and the liar asks for them by the file's digest.
    let fixture = Fixture::new();
    let second = fixture.reader(&victim, &[&from_victim]);
    second.read(everything(&second)).await.unwrap();
    until(|| second.read_now(everything(&second)).is_some()).await;
    let first = fixture.reader(&liar, &[&from_liar]);
    assert_eq!(first.read(everything(&first)).await.unwrap()[..300_000], forged);
    assert_eq!(fixture.fetcher.stats().shared_bytes, 0);
}
