//! zstd:chunked as its three writers make it, and as none does.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use peel_layer::testing::{IndexBytes, TarEntry, ZstdChunked, ZstdChunkedWriter, ZstdVariant, decode_chunk};
use peel_layer::toc::IndexError;
use peel_layer::zstd_chunked::{Vouched, build_index};
use peel_layer::{ChunkDigest, ChunkId, DataOffset, Limits, TocDigest, UnitError};

/// 1,000 bytes, of which 300 to 500 and 900 to the end are zeros.
fn content() -> Vec<u8> {
    let mut bytes: Vec<u8> = (1..=250).cycle().take(1000).collect();
    bytes[300..500].fill(0);
    bytes[900..].fill(0);
    bytes
}

fn sample(variant: ZstdVariant) -> ZstdChunked {
    let entries = [
        TarEntry::file("small", b"one chunk"),
        TarEntry::file("holes", &content()),
        TarEntry::file("empty", b""),
        TarEntry::file("zeros", &[0; 400]),
    ];
    ZstdChunkedWriter::new(variant, 100).entries(&entries).finish()
}

#[test]
fn variants() {
    for (variant, chunks) in
        [(ZstdVariant::Stargz, 15), (ZstdVariant::Storage2022, 8), (ZstdVariant::Storage, 8)]
    {
        let layer = sample(variant);
        let (_, index, built) = layer.index(&Limits::default()).unwrap();
        assert_eq!(built.summary.chunks, chunks, "{variant:?}");
        // Every byte of the data file, where no chunk is zeros.
        let mut data = vec![0; usize::try_from(index.data_size().0).unwrap()];
        for id in (0..index.chunk_count()).map(ChunkId) {
            let chunk = decode_chunk(&index, id, layer.range(index.blob_range(id))).unwrap().unwrap();
            let start = usize::try_from(index.chunk(id).data.start.0).unwrap();
            data[start..start + chunk.bytes().len()].copy_from_slice(chunk.bytes());
        }
        assert_eq!(&data[..9], b"one chunk");
        assert_eq!(data[4096..5096], content());
        assert_eq!(data[8192..], [0; 4096]);
        // A hole is no chunk, so that it costs no fetch.
        if variant != ZstdVariant::Stargz {
            assert!(index.chunks_in(DataOffset(4096 + 300)..DataOffset(4096 + 500)).is_empty());
            assert!(index.chunks_in(DataOffset(8192)..DataOffset(u64::MAX)).is_empty());
        }
    }
}

#[test]
fn a_file_of_one_chunk_has_its_digest() {
    let index = sample(ZstdVariant::Storage).index(&Limits::default()).unwrap().1;
    assert_eq!(index.find(&ChunkDigest::of(b"one chunk")), Some(ChunkId(0)));
}

fn error(layer: &ZstdChunked, toc: &[u8], vouched: Vouched) -> IndexError {
    let (limits, mut files) = (Limits::default(), IndexBytes::default());
    let location = layer.location(&limits);
    let built = build_index(layer.layer(), &location, toc, vouched, &limits, &mut files.files());
    assert_eq!(files, IndexBytes::default(), "nothing is written");
    built.unwrap_err()
}

#[test]
fn what_the_manifest_does_not_vouch_for_is_refused() {
    let layer = sample(ZstdVariant::Storage);
    let toc = layer.range(layer.location(&Limits::default()).range());
    let other = TocDigest::of(b"another");
    for vouched in [Vouched::Json(other), Vouched::Compressed(other)] {
        assert!(
            matches!(error(&layer, toc, vouched), IndexError::Digest { expected, .. } if expected == other)
        );
    }
    // The digest of the one is not that of the other.
    assert!(matches!(error(&layer, toc, Vouched::Json(layer.checksum)), IndexError::Digest { .. }));
    let cut = error(&layer, &toc[1..], layer.vouched());
    assert!(matches!(cut, IndexError::Length { .. }));
    let mut damaged = toc.to_vec();
    damaged[0] ^= 1;
    assert!(matches!(
        error(&layer, &damaged, Vouched::Json(layer.toc_digest)),
        IndexError::Decode(UnitError::Zstd(_))
    ));
}

#[test]
fn tocs_that_no_writer_writes() {
    let refused = |toc: &str| {
        let layer = ZstdChunkedWriter::new(ZstdVariant::Storage, 100)
            .entry(&TarEntry::file("f", &[7; 50]))
            .finish_raw(toc.as_bytes());
        layer.index(&Limits::default()).unwrap_err().to_string()
    };
    let file =
        |rest: &str| refused(&format!(r#"{{"entries":[{{"name":"f","type":"reg","size":100,{rest}}}]}}"#));
    assert!(file(r#""chunkType":"zeros","chunkSize":50"#).contains("gap at byte 50"));
    assert!(file(r#""chunkType":"zeros","chunkSize":101"#).contains("overlap"));
    assert!(file(r#""offset":9"#).contains("cannot be verified"));
    // Whether a file of 100 bytes is in so few is for its digest to say; 1 TiB cannot be.
    let digest = ChunkDigest::of(b"");
    let huge = (1u64 << 25) + 1;
    let huge = format!(
        r#"{{"entries":[{{"name":"f","type":"reg","size":{huge},"offset":400,"digest":"{digest}"}}]}}"#
    );
    assert!(refused(&huge).contains("of the blob"), "{}", refused(&huge));
}
