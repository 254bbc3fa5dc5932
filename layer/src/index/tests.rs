#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::ops::ControlFlow;

use super::*;
use crate::data::stream::locate;
use crate::testing::{EStargzWriter, Indexed, TarEntry, decode_chunk};
use crate::{DiffId, LayerDigest, Limits, TocDigest, VerifiedChunk};

/// Three files in chunks of 100 bytes, two chunks to a member, a gap in the data file between files.
fn sample() -> (crate::testing::EStargz, Indexed) {
    let content: Vec<u8> = (0..=255).collect();
    let layer = EStargzWriter::new()
        .chunk_size(100)
        .pack(700)
        .odd_headers()
        .entry(&TarEntry::file("dir/a", &content))
        .entry(&TarEntry::file("b", &content[..10]))
        .entry(&TarEntry::file("c", &content[..256]))
        .finish();
    let indexed = layer.index(&Limits::default()).unwrap();
    (layer, indexed)
}

/// The table of `sample`, changed and with its checksum made good.
fn changed(at: usize, value: &[u8]) -> Result<(), TableError> {
    let mut table = sample().1.bytes.table;
    table[at..at + value.len()].copy_from_slice(value);
    seal(&mut table);
    LayerIndex::parse(table).map(drop)
}

fn seal(table: &mut [u8]) {
    let end = table.len() - layout::CHECKSUM;
    let (body, checksum) = table.split_at_mut(end);
    checksum.copy_from_slice(&<[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(body)));
}

#[test]
fn answers() {
    let (layer, Indexed { index, built, .. }) = sample();
    let key = IndexKey { layer: layer.layer(), described_by: layer.toc_digest };
    assert_eq!((index.key(), built.key), (key, key));
    assert_eq!((index.format(), index.blob_size()), (Format::EStargz, layer.blob.len() as u64));
    assert_eq!((index.chunk_count(), index.content_size()), (7, 256 + 10 + 256));
    assert_eq!(index.data_size(), DataOffset(3 * 4096));
    assert_eq!(index.implied().collect::<Vec<_>>(), [b"dir"]);
    assert_eq!(index.landmark(), Landmark::Absent);
    assert_eq!(index.chunk(ChunkId(1)).data, DataOffset(100)..DataOffset(200));
    assert_eq!(index.chunk(ChunkId(3)).data, DataOffset(4096)..DataOffset(4106));
    // Equal bytes are found at their first place.
    assert_eq!(index.find(&index.chunk(ChunkId(4)).digest.unwrap()), Some(ChunkId(0)));
    assert_eq!(index.find(&ChunkDigest::of(b"something else")), None);
}

#[test]
fn ranges() {
    let index = sample().1.index;
    let chunks_in = |start, end| index.chunks_in(DataOffset(start)..DataOffset(end));
    assert_eq!(chunks_in(0, 1), 0..1);
    assert_eq!(chunks_in(99, 101), 0..2);
    assert_eq!(chunks_in(100, 200), 1..2);
    assert!(chunks_in(256, 4096).is_empty(), "a gap has no chunks");
    assert_eq!(chunks_in(255, 4097), 2..4);
    assert_eq!(chunks_in(0, u64::MAX), 0..7);
    assert!(chunks_in(5, 5).is_empty() && chunks_in(1 << 40, 1 << 41).is_empty());
}

#[test]
fn units_share_one_inflate() {
    let (layer, Indexed { index, .. }) = sample();
    let shared: Vec<_> =
        (0..index.unit_count()).map(|unit| index.chunks_within(unit..unit + 1).len()).collect();
    assert_eq!(shared.iter().sum::<usize>(), 7);
    assert!(shared.iter().any(|count| *count > 1), "{shared:?}");
    let all = UnitId(0)..UnitId(index.unit_count());
    let run = layer.range(index.range_of(&(0..all.end.0)));
    let mut seen = Vec::new();
    let mut take = |id: ChunkId, chunk: Result<VerifiedChunk, _>| {
        seen.push((id.0, chunk.unwrap().bytes().len() as u64));
        if id.0 == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    index.decode_run(all, run, &|id| id.0 % 2 == 1, &mut take).unwrap();
    assert_eq!(seen, [1, 3, 5].map(|id| (id, index.chunk(ChunkId(id)).length())));
}

#[test]
fn damaged_units_are_refused() {
    let (layer, Indexed { index, .. }) = sample();
    let blob = layer.range(index.blob_range(ChunkId(0)));
    assert!(decode_chunk(&index, ChunkId(0), blob).unwrap().is_ok());
    for bad in [&b""[..], b"not gzip", &blob[..20]] {
        let error = decode_chunk(&index, ChunkId(0), bad).unwrap_err();
        assert_eq!(error.chunk, ChunkId(0));
    }
    // Bytes of another unit decode, and fail the digest.
    let other = layer.range(index.blob_range(ChunkId(6)));
    if let Ok(chunk) = decode_chunk(&index, ChunkId(0), other) {
        assert!(chunk.is_err());
    }
}

#[test]
fn damage_costs_what_depends_on_it() {
    let (layer, Indexed { index, .. }) = sample();
    let all = UnitId(0)..UnitId(index.unit_count());
    let mut run = layer.range(index.range_of(&(0..all.end.0))).to_vec();
    // The header of the second unit that chunks begin in.
    let broken = index.chunk(ChunkId(6)).units.start;
    let at = index.unit(UnitId(broken)).start.0 - index.unit(UnitId(0)).start.0;
    run[usize::try_from(at).unwrap()] ^= 1;
    let (mut seen, hit) = (Vec::new(), index.chunks_within(broken..broken + 1));
    let error = index.decode_run(all, &run, &|_| true, &mut |id, chunk| {
        seen.push((id.0, chunk.is_ok()));
        ControlFlow::Continue(())
    });
    assert_eq!(error.unwrap_err().chunk, ChunkId(hit.start));
    assert!(!hit.is_empty() && hit.len() < 7);
    let left = (0..7).filter(|id| !hit.contains(id)).map(|id| (id, true));
    assert_eq!(seen, left.collect::<Vec<_>>());
}

/// A table as [`Format::Tar`] or [`Format::Zstd`] have it: `units` are bytes of the blob and what they decode to.
fn streamed(format: Format, units: &[(Vec<u8>, Vec<u8>)]) -> (LayerIndex<Vec<u8>>, Vec<u8>) {
    let (mut table, mut blob, mut stream) = (TableBuilder::default(), b"before".to_vec(), Vec::new());
    let mut starts = Vec::new();
    for (compressed, plain) in units {
        table.unit(BlobOffset(blob.len() as u64));
        starts.push(stream.len() as u64);
        blob.extend(compressed);
        stream.extend(plain);
    }
    let length = |at: usize| (at % 7 + 1) * 60;
    let mut at = 13;
    while at + length(at) < stream.len() {
        let bytes = &stream[at..at + length(at)];
        let (at_64, end) = (at as u64, (at + bytes.len()) as u64);
        let (units, inner) = locate(&starts, at_64..end).unwrap();
        let data = DataOffset(at_64).span(bytes.len() as u64);
        table.chunk(&Chunk { data, units, inner, digest: Some(ChunkDigest::of(bytes)) });
        at += bytes.len() + at % 5;
    }
    let end = TableEnd {
        key: IndexKey::streamed(LayerDigest::of(&blob), DiffId::of(&stream)),
        format,
        tree_digest: [0; 32],
        blob_size: blob.len() as u64 + 10,
        units_end: BlobOffset(blob.len() as u64),
        data_size: DataOffset(stream.len().next_multiple_of(4096) as u64),
        landmark: Landmark::Absent,
        implied: &[],
    };
    let mut bytes = Vec::new();
    table.write(&end, &mut bytes).unwrap();
    (LayerIndex::parse(bytes).unwrap(), blob)
}

#[test]
fn chunks_cross_units() {
    let plain =
        |unit: usize| -> Vec<u8> { (0..100 + unit * 37).map(|at| (at * unit).to_le_bytes()[0]).collect() };
    let frame = |bytes: &[u8]| zstd::stream::encode_all(bytes, 3).unwrap();
    // A unit of zstd may hold several frames, and end with one that holds nothing.
    let frames = |bytes: &[u8]| [frame(&bytes[..50]), frame(&bytes[50..]), frame(b"")].concat();
    for format in [Format::Zstd, Format::Tar] {
        let encode = |unit: usize| if format == Format::Zstd { frames(&plain(unit)) } else { plain(unit) };
        let units: Vec<_> = (0..40).map(|unit| (encode(unit), plain(unit))).collect();
        let (index, blob) = streamed(format, &units);
        let bytes = |range: Range<BlobOffset>| {
            &blob[usize::try_from(range.start.0).unwrap()..usize::try_from(range.end.0).unwrap()]
        };
        let ids = (0..index.chunk_count()).map(ChunkId);
        assert!(ids.clone().any(|id| index.chunk(id).units.len() > 2), "some chunk crosses several units");
        for id in ids {
            decode_chunk(&index, id, bytes(index.blob_range(id))).unwrap().unwrap();
        }
        for run in [0..40, 3..20, 39..40] {
            let mut seen = Vec::new();
            let within = index.chunks_within(run.clone());
            let blob = bytes(index.range_of(&run));
            let mut take = |id: ChunkId, chunk: Result<VerifiedChunk, _>| {
                chunk.unwrap();
                seen.push(id.0);
                ControlFlow::Continue(())
            };
            let wanted = |id: ChunkId| id.0 % 3 != 1;
            index.decode_run(UnitId(run.start)..UnitId(run.end), blob, &wanted, &mut take).unwrap();
            assert_eq!(seen, within.filter(|id| id % 3 != 1).collect::<Vec<_>>());
        }
    }
}

#[test]
fn names() {
    let key = IndexKey { layer: LayerDigest::of(b""), described_by: TocDigest::of(b"") };
    assert_eq!(
        key.to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855-e3b0c44298fc1c149afbf4c8996fb924"
    );
    assert_eq!(IndexKey::streamed(key.layer, DiffId::of(b"")), key);
    for (code, name) in (1..).zip(["estargz", "zstd:chunked", "soci", "gzip", "zstd", "tar"]) {
        assert_eq!(Format::from_code(code).unwrap().name(), name);
    }
    assert_eq!((Format::from_code(0), Format::from_code(7)), (None, None));
}

#[test]
fn tables_that_no_writer_writes() {
    use TableError::{Invalid, NotATable, Version};
    assert_eq!(changed(0, b"P"), Ok(()));
    assert_eq!(changed(0, b"X"), Err(NotATable));
    assert_eq!(changed(8, &[9]), Err(Version(9)));
    assert_eq!(changed(12, &[9]), Err(Invalid("format")));
    assert_eq!(changed(112, &[1, 0, 0]), Err(Invalid("unit outside the blob")));
    assert_eq!(changed(120, &[0, 1]), Err(Invalid("size of the data file")));
    assert_eq!(changed(128, &[1]), Err(Invalid("sum of the chunks")));
    assert_eq!(changed(152, &[9]), Err(Invalid("landmark")));
    for counts in [136, 140, 144, 168] {
        assert_eq!(changed(counts, &[0xff; 4]), Err(TableError::Truncated));
    }
    let sections = sample().1.index.sections;
    let (units, row) = (sections.units.start, sections.chunks.start);
    assert_eq!(changed(units + 8, &[0; 8]), Err(Invalid("units are not in order")));
    assert_eq!(changed(row + 8, &[0; 4]), Err(Invalid("size of a chunk")));
    assert_eq!(changed(row + 8, &[0xff; 4]), Err(Invalid("size of a chunk")));
    assert_eq!(changed(row, &[1]), Err(Invalid("chunks overlap in the data file")));
    assert_eq!(
        changed(row + 12, &[0xfe, 0xff, 0xff, 0xff]),
        Err(Invalid("chunks are not in the order of the blob"))
    );
    for count in [0, 2] {
        assert_eq!(changed(row + 16, &[count]), Err(Invalid("number of a chunk's units")));
    }
    assert_eq!(changed(row + 20, &[0xff; 8]), Err(Invalid("end of a chunk")));
    assert_eq!(changed(row + layout::DIGEST, &[0; 32]), Err(Invalid("digests are not in order")));
    assert_eq!(changed(sections.by_digest.start, &[0xff; 4]), Err(Invalid("digest of no row")));
    let files = sections.files.start;
    let last_length = sections.files.end - layout::FILE + 8;
    assert_eq!(changed(last_length, &[0xff; 8]), Err(Invalid("end of a file")));
    assert_eq!(changed(files + 1, &[0x40]), Err(Invalid("files overlap in the data file")));
    assert_eq!(changed(last_length + 1, &[0x20]), Err(Invalid("file outside the data file")));
    assert_eq!(changed(files + layout::FILE_DIGEST, &[0xff; 32]), Err(Invalid("digests are not in order")));
    assert_eq!(changed(sections.files_by_digest.start, &[0xff; 4]), Err(Invalid("digest of no row")));
    assert_eq!(changed(sections.implied.end - 1, b"x"), Err(Invalid("implied directories")));
}

#[test]
fn every_changed_byte_is_noticed() {
    let table = sample().1.bytes.table;
    for cut in 0..table.len() {
        assert!(LayerIndex::parse(&table[..cut]).is_err());
    }
    for at in 0..table.len() {
        let mut changed = table.clone();
        changed[at] ^= 0x10;
        assert!(LayerIndex::parse(changed).is_err(), "{at}");
    }
}
