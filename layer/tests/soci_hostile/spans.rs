//! Checkpoints, digests of spans, sizes.

use peel_layer::soci::{IndexError, SpanProblem, ZtocError, build_index};
use peel_layer::testing::IndexBytes;
use peel_layer::testing::ztoc::{Ztoc, ZtocEntry, checkpoints, tar_info};
use peel_layer::{ChunkId, LayerDigest, LayerIndex, Limits, TocDigest, seek::SeekIndex};

use super::{ROWS, build, digests, refused, refused_span, sound};

#[test]
fn chunks_end_with_spans() {
    let bytes = build(|_| {}).unwrap();
    let index = LayerIndex::parse(bytes.table).unwrap();
    let chunk = |id| {
        let chunk = index.chunk(ChunkId(id));
        (chunk.data.start.0..chunk.data.end.0, chunk.units, chunk.inner, chunk.digest)
    };
    assert_eq!(index.chunk_count(), 3);
    assert_eq!(chunk(0), (0..3488, 0..1, 512, None));
    assert_eq!(chunk(1), (3488..5000, 1..2, 0, None));
    assert_eq!(chunk(2), (8192..8292, 1..2, 2144, None));
    let seek = SeekIndex::parse(bytes.seek).unwrap();
    let spans: Vec<_> = (0..3)
        .map(|unit| {
            let unit = peel_layer::UnitId(unit);
            let blob = seek.blob_range(unit);
            (blob.start.0..blob.end.0, seek.stream_range(unit))
        })
        .collect();
    // The byte before 300 belongs to both.
    assert_eq!(spans, [(10..300, 0..4000), (299..600, 4000..8000), (600..1000, 8000..10_240)]);
}

#[test]
fn number_of_checkpoints() {
    let wrong = |have, rows: &[_]| refused(|ztoc| ztoc.checkpoints = checkpoints(have, rows));
    assert_eq!(wrong(0, &[]), ZtocError::Checkpoints { have: 0, bytes: 12 });
    assert_eq!(wrong(-1, &[]), ZtocError::Checkpoints { have: -1, bytes: 12 });
    // 32,785 times this is 12 modulo 2^32: what upstream multiplies in 32 bits.
    for have in [5, i32::MAX, 131_005, -2_147_352_643] {
        assert!(matches!(wrong(have, &ROWS), ZtocError::Checkpoints { have: found, .. } if found == have));
    }
    for cut in [0, 3, 11, 13, 20_000] {
        let error = refused(|ztoc| ztoc.checkpoints.truncate(cut));
        assert!(
            matches!(error, ZtocError::Checkpoints { .. } | ZtocError::Missing("checkpoints")),
            "{error}"
        );
    }
    assert!(matches!(refused(|ztoc| ztoc.checkpoints.push(0)), ZtocError::Checkpoints { .. }));
}

#[test]
fn old_checkpoints_lack_the_first() {
    let old = build(|ztoc| ztoc.checkpoints = checkpoints(3, &ROWS[1..])).unwrap();
    assert!(old.seek == build(|_| {}).unwrap().seek);
    // One span and no checkpoint at all.
    let one = build(|ztoc| {
        ztoc.checkpoints = checkpoints(1, &[]);
        (ztoc.last_span, ztoc.span_digests) = (0, digests(1));
    });
    assert_eq!(SeekIndex::parse(one.unwrap().seek).unwrap().unit_count(), 1);
}

#[test]
fn counts_that_do_not_go_together() {
    for (spans, last) in [(2, 2), (4, 2), (3, 1), (3, 3), (3, -1), (0, i32::MIN)] {
        let error = refused(|ztoc| (ztoc.span_digests, ztoc.last_span) = (digests(spans), last));
        assert_eq!(error, ZtocError::SpanCount { spans: 3, digests: spans, last });
    }
    let error = refused(|ztoc| ztoc.span_digests[1] = "sha256:00".to_owned());
    assert_eq!(error, ZtocError::Span { number: 1, problem: SpanProblem::Digest });
    let error = refused(|ztoc| ztoc.span_digests[2] = String::new());
    assert_eq!(error, ZtocError::Span { number: 2, problem: SpanProblem::Digest });
}

#[test]
fn checkpoints_that_make_no_spans() {
    use SpanProblem::{Bits, First, Impossible, Order, OutsideBlob};
    assert_eq!(refused_span(1, &[(10, 0, 0), (300, 4000, 8), (600, 8000, 0)]), Bits(8));
    assert_eq!(refused_span(0, &[(0, 0, 1)]), First);
    assert_eq!(refused_span(0, &[(10, 1, 0)]), First);
    // Two with the same output: an empty stored block at the start, which `gzip -k` with a flush makes.
    assert_eq!(refused_span(1, &[(10, 0, 0), (15, 0, 0), (600, 8000, 0)]), Order);
    assert_eq!(refused_span(2, &[(10, 0, 0), (300, 4000, 0), (299, 8000, 0)]), Order);
    assert_eq!(refused_span(2, &[(10, 0, 0), (300, 4000, 0), (300, 8000, 0)]), Order);
    assert_eq!(refused_span(2, &[(10, 0, 0), (300, 4000, 0), (300, 8000, 1)]), Order);
    assert_eq!(refused_span(2, &[(10, 0, 0), (300, 4000, 3), (300, 8000, 0)]), Order);
    assert_eq!(refused_span(2, &[(10, 0, 0), (300, 4000, 0), (600, 3999, 0)]), Order);
    assert_eq!(refused_span(1, &[(10, 0, 0), (1000, 4000, 0)]), OutsideBlob);
    assert_eq!(refused_span(0, &[(i64::MAX, 0, 0)]), OutsideBlob);
    let impossible = refused_span(1, &[(10, 0, 0), (300, 4000, 0), (301, 8000, 0)]);
    assert_eq!(impossible, Impossible { held: 1, claimed: 4000 });
    for (row, field) in [((-1, 0, 0), "checkpoint's in"), ((10, i64::MIN, 0), "checkpoint's out")] {
        let error = refused(|ztoc| {
            ztoc.checkpoints = checkpoints(1, &[row]);
            (ztoc.last_span, ztoc.span_digests) = (0, digests(1));
        });
        assert!(matches!(error, ZtocError::Value { field: found, .. } if found == field), "{error}");
    }
}

#[test]
fn sizes_that_lie() {
    assert_eq!(
        refused(|ztoc| ztoc.compressed_size = 999),
        ZtocError::BlobSize { expected: 1000, found: 999 }
    );
    let value = |field| move |value| ZtocError::Value { field, value };
    assert_eq!(refused(|ztoc| ztoc.compressed_size = -1), value("compressed_archive_size")(-1));
    assert_eq!(refused(|ztoc| ztoc.uncompressed_size = -5), value("uncompressed_archive_size")(-5));
    // More than the last span can hold, with the files to show for it.
    let error = refused(|ztoc| {
        ztoc.uncompressed_size = i64::MAX;
        ztoc.entries[1].size = 1 << 40;
    });
    assert!(
        matches!(error, ZtocError::Span { number: 2, problem: SpanProblem::Impossible { .. } }),
        "{error}"
    );
    // A span as large as fits a big blob, but not one fetch.
    let mut ztoc = Ztoc { compressed_size: 1 << 30, ..sound() };
    ztoc.checkpoints = checkpoints(3, &[(10, 0, 0), (300, 4000, 0), (600, 8000, 0)]);
    let ztoc = ztoc.to_bytes();
    let mut bytes = IndexBytes::default();
    let (layer, digest) = (LayerDigest::of(b"l"), TocDigest::of(&ztoc));
    let large =
        build_index(layer, 1 << 30, &ztoc, digest, &Limits::default(), &mut bytes.files()).unwrap_err();
    assert!(large.to_string().contains("span 2: it has 1073741224 bytes in the blob"), "{large}");
    // Nothing of a refused index was written.
    assert!(bytes.tree.is_empty() && bytes.table.is_empty() && bytes.seek.is_empty());
}

#[test]
fn stream_goes_on_behind_the_archive() {
    // The archive ends in the second span: the third has padding only, and is not a unit.
    let bytes = build(|ztoc| ztoc.uncompressed_size = 7000).unwrap();
    let seek = SeekIndex::parse(bytes.seek).unwrap();
    assert_eq!(seek.unit_count(), 2);
    let last = peel_layer::UnitId(1);
    assert_eq!((seek.blob_range(last).end.0, seek.stream_range(last)), (600, 4000..7000));
    // It ends with a span.
    let bytes = build(|ztoc| ztoc.uncompressed_size = 8000).unwrap();
    assert_eq!(SeekIndex::parse(bytes.seek).unwrap().unit_count(), 2);
    // It has nothing at all.
    let bytes = build(|ztoc| (ztoc.uncompressed_size, ztoc.entries) = (0, Vec::new())).unwrap();
    assert_eq!(LayerIndex::parse(bytes.table).unwrap().chunk_count(), 0);
}

#[test]
fn uncompressed_layers() {
    let tar = |change: fn(&mut Ztoc)| {
        build(|ztoc| {
            (ztoc.algorithm, ztoc.checkpoints) = (2, tar_info(400, 1000));
            ztoc.uncompressed_size = 1000;
            ztoc.entries = vec![ZtocEntry::new("a", "reg", 512, 300)];
            change(ztoc);
        })
    };
    let error = |change| match tar(change).unwrap_err() {
        IndexError::Ztoc(error) => error,
        other => panic!("{other}"),
    };
    let bytes = tar(|_| {}).unwrap();
    let seek = SeekIndex::parse(bytes.seek).unwrap();
    assert_eq!(seek.unit_count(), 3);
    assert_eq!(seek.stream_range(peel_layer::UnitId(2)), 800..1000);
    let index = LayerIndex::parse(bytes.table).unwrap();
    let pieces: Vec<_> = (0..2).map(|id| index.chunk(ChunkId(id)).length()).collect();
    assert_eq!(pieces, [288, 12]);
    assert_eq!(
        error(|it| it.checkpoints = tar_info(0, 1000)),
        ZtocError::Value { field: "span_size", value: 0 }
    );
    assert_eq!(
        error(|it| it.checkpoints = tar_info(-1, 1000)),
        ZtocError::Value { field: "span_size", value: -1 }
    );
    assert_eq!(
        error(|it| it.checkpoints = tar_info(400, 999)),
        ZtocError::BlobSize { expected: 1000, found: 999 }
    );
    assert_eq!(
        error(|it| it.checkpoints = tar_info(1, 1000)),
        ZtocError::SpanCount { spans: 1000, digests: 3, last: 2 }
    );
    assert_eq!(
        error(|it| it.uncompressed_size = 1001),
        ZtocError::Value { field: "uncompressed_archive_size", value: 1001 }
    );
    assert!(matches!(error(|it| it.checkpoints.clear()), ZtocError::Malformed(_)));
    assert_eq!(error(|it| it.algorithm = 3), ZtocError::Compression(3));
}
