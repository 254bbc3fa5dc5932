//! SOCI layers of several compressors, and what happens when bytes, windows or sizes lie. (What SOCI's own builder made is
//! in `fixtures/`.)

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::{io::Read as _, ops::ControlFlow, ops::Range};

use flate2::read::MultiGzDecoder;
use peel_layer::seek::SeekIndex;
use peel_layer::testing::{SociLayer, TarEntry, decode_chunk, decode_span, gzip, tar};
use peel_layer::{BlobOffset, ChunkId, DecodeError, LayerIndex, Limits, UnitError, UnitId};

fn bytes_of(blob: &[u8], range: Range<BlobOffset>) -> &[u8] {
    let index = |offset: BlobOffset| usize::try_from(offset.0).unwrap();
    &blob[index(range.start)..index(range.end)]
}

fn gunzip(blob: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    MultiGzDecoder::new(blob).read_to_end(&mut stream).unwrap();
    stream
}

/// Every span, alone, decodes to its part of the stream; and a run of all of them gives every chunk.
fn check_spans(layer: &SociLayer, stream: &[u8]) {
    let blob = &layer.blob;
    let (index, bytes) = layer.index(&Limits::default()).unwrap();
    assert!(index.unit_count() >= 8, "{}", index.unit_count());
    let seek = SeekIndex::parse(bytes.seek).unwrap();
    for unit in (0..seek.unit_count()).map(UnitId) {
        let range = seek.stream_range(unit);
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(decode_span(&seek, unit, bytes_of(blob, seek.blob_range(unit))) == stream[range], "{unit:?}");
    }
    let (all, mut seen) = (0..index.unit_count(), 0);
    let run = bytes_of(blob, index.range_of(&all));
    let decoded = index.decode_run(UnitId(all.start)..UnitId(all.end), run, &|_| true, &mut |id, chunk| {
        assert_eq!(id.0, seen);
        let alone = decode_chunk(&index, id, bytes_of(blob, index.blob_range(id))).unwrap().unwrap();
        let chunk = chunk.unwrap();
        // The digest is learned, and the same each time.
        assert_eq!((chunk.digest(), chunk.bytes()), (alone.digest(), alone.bytes()));
        seen += 1;
        ControlFlow::Continue(())
    });
    decoded.unwrap();
    assert_eq!(seen, index.chunk_count());
}

/// Content that compresses by half and has matches over long distances.
fn content(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        state.to_be_bytes()[1]
    };
    let words: Vec<Vec<u8>> = (0..500).map(|length| (0..4 + length % 60).map(|_| next()).collect()).collect();
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let pick = usize::from(next()) + 2 * usize::from(next());
        bytes.extend(words.get(pick).map_or(&[][..], |word| word));
    }
    bytes.truncate(length);
    bytes
}

fn entries() -> Vec<TarEntry> {
    let content = content(3_000_000);
    vec![
        TarEntry::directory("d"),
        TarEntry::file("d/large", &content[..2_500_001]).xattr("user.a", b"1").mode(0o4755).owner(7, 8),
        TarEntry::file("empty", b""),
        TarEntry::hard_link("d/link", "d/large"),
        TarEntry::file("small", &content[2_900_000..]),
    ]
}

#[test]
fn members_padding_and_no_compression() {
    let tar = tar(&entries());
    let (first, rest) = tar.split_at(700_001);
    let (second, third) = rest.split_at(1_000_000);
    let members = [gzip(first), gzip(second), gzip(third)].concat();
    // Zeros behind the archive's end, enough for spans of their own; SOCI's archive ends before.
    let mut padded = tar.clone();
    padded.extend(content(1_000_000));
    for blob in [gzip(&tar), members, gzip(&padded)] {
        let stream = gunzip(&blob);
        check_spans(&SociLayer::gzip(blob, &entries(), 256 << 10), &stream);
    }
    check_spans(&SociLayer::plain(&entries(), 300_000), &tar);
}

/// The error of one chunk, and which chunks came all the same.
fn decode_all(index: &LayerIndex<Vec<u8>>, blob: &[u8]) -> (Option<DecodeError>, Vec<u32>) {
    let all = 0..index.unit_count();
    let mut came = Vec::new();
    let run = bytes_of(blob, index.range_of(&all));
    let outcome = index.decode_run(UnitId(all.start)..UnitId(all.end), run, &|_| true, &mut |id, chunk| {
        chunk.unwrap();
        came.push(id.0);
        ControlFlow::Continue(())
    });
    (outcome.err(), came)
}

#[test]
fn a_flipped_bit_costs_its_span_only_and_is_found_before_it_is_decoded() {
    let layer = SociLayer::gzip(gzip(&tar(&entries())), &entries(), 256 << 10);
    let (index, _) = layer.index(&Limits::default()).unwrap();
    let unit = 3;
    let range = index.unit(UnitId(unit));
    let mut blob = layer.blob.clone();
    blob[usize::try_from(u64::midpoint(range.start.0, range.end.0)).unwrap()] ^= 1;
    let (error, came) = decode_all(&index, &blob);
    let error = error.unwrap();
    assert!(matches!(error.source, UnitError::Span(_)), "{error}");
    assert_eq!(index.chunk(error.chunk).units, unit..unit + 1);
    let lost: Vec<_> = (0..index.chunk_count()).filter(|id| !came.contains(id)).collect();
    assert_eq!(lost, index.chunks_within(unit..unit + 1).collect::<Vec<_>>());
}

#[test]
fn a_span_that_claims_more_than_it_holds_ends() {
    let mut layer = SociLayer::gzip(gzip(&tar(&entries())), &entries(), 256 << 10);
    // As SOCI's decoder would spin on: a hundred bytes more than the stream has.
    layer.ztoc.uncompressed_size += 2048;
    let at = layer.ztoc.entries.last().unwrap().offset;
    layer.ztoc.entries.last_mut().unwrap().size = layer.ztoc.uncompressed_size - at;
    let (index, _) = layer.index(&Limits::default()).unwrap();
    let (error, came) = decode_all(&index, &layer.blob);
    assert_eq!(error.unwrap().chunk, ChunkId(index.chunk_count() - 1));
    assert_eq!(came.len(), index.chunk_count() as usize - 1);
}

/// What docs/trust.md says: nothing ties windows to the layer. So an index must be vouched for.
#[test]
fn windows_decide_what_files_contain() {
    let layer = SociLayer::gzip(gzip(&tar(&entries())), &entries(), 256 << 10);
    let mut lying = layer.clone();
    for byte in lying.ztoc.checkpoints.iter_mut().skip(12 + 2 * 32_785 + 17).take(32 << 10) {
        *byte ^= 0x20;
    }
    let bytes = |layer: &SociLayer| {
        let (index, _) = layer.index(&Limits::default()).unwrap();
        let id = ChunkId(index.chunks_within(2..3).start);
        let chunk = decode_chunk(&index, id, bytes_of(&layer.blob, index.blob_range(id))).unwrap();
        chunk.unwrap().bytes().to_vec()
    };
    assert_ne!(bytes(&layer), bytes(&lying));
}
