#![expect(clippy::unwrap_used, reason = "tests may panic")]

use sha2::{Digest as _, Sha256};

use super::layout::{CHECKSUM, HEADER, ROW};
use super::*;
use crate::UnitId;
use crate::inflate::InflateError;

fn sample() -> Vec<u8> {
    let mut builder = SeekBuilder::default();
    for (blob_at, bits, stream_at, window) in
        [(10, 0, 0, vec![]), (500, 3, 4000, vec![1; 4000]), (900, 7, 9000, vec![2; 40_000])]
    {
        let checkpoint = Checkpoint { blob_at: BlobOffset(blob_at), bits, stream_at, window };
        builder.push(&checkpoint, Some([bits; 32]));
    }
    let mut bytes = Vec::new();
    builder.write(SeekEnd { blob: BlobOffset(1000), stream: 10_000 }, &mut bytes).unwrap();
    bytes
}

fn changed(at: usize, value: &[u8]) -> Result<(), SeekError> {
    let mut bytes = sample();
    bytes[at..at + value.len()].copy_from_slice(value);
    let end = bytes.len() - CHECKSUM;
    let (body, checksum) = bytes.split_at_mut(end);
    checksum.copy_from_slice(&Sha256::digest(body));
    SeekIndex::parse(bytes).map(drop)
}

#[test]
fn answers() {
    let index = SeekIndex::parse(sample()).unwrap();
    assert_eq!(index.unit_count(), 3);
    let blob = |unit| index.blob_range(UnitId(unit));
    assert_eq!(blob(0), BlobOffset(10)..BlobOffset(500));
    assert_eq!(blob(1), BlobOffset(499)..BlobOffset(900), "the byte that two units share is in both");
    assert_eq!(blob(2), BlobOffset(899)..BlobOffset(1000));
    let stream: Vec<_> = (0..3).map(|unit| index.stream_range(UnitId(unit))).collect();
    assert_eq!(stream, [0..4000, 4000..9000, 9000..10_000]);
    assert_eq!(index.span_digest(UnitId(1)), Some([3; 32]));
    let windows: Vec<_> = (0..3).map(|unit| index.checkpoint(UnitId(unit)).unwrap().window).collect();
    assert_eq!(windows, [vec![], vec![1; 4000], vec![2; WINDOW_MAX]]);
    // No such unit.
    assert_eq!(blob(3), BlobOffset(1000)..BlobOffset(1000));
    assert_eq!(index.stream_range(UnitId(u32::MAX)), 10_000..10_000);
    assert_eq!(index.span_digest(UnitId(3)), None);
    assert_eq!(index.checkpoint(UnitId(3)), Err(InflateError::Corrupt));
}

#[test]
fn indexes_that_no_writer_writes() {
    use SeekError::{Invalid, NotAnIndex, Truncated, Version};
    assert_eq!(changed(0, b"P"), Ok(()));
    assert_eq!(changed(0, b"X"), Err(NotAnIndex));
    assert_eq!(changed(8, &[9]), Err(Version(9)));
    assert_eq!(changed(12, &[4]), Err(Truncated));
    assert_eq!(changed(12, &[0xff; 4]), Err(Truncated));
    assert_eq!(changed(16, &[4]), Err(Invalid("flags")));
    let plain = Invalid("checkpoint of a blob that is not compressed");
    assert_eq!(changed(16, &[3]), Err(plain));
    assert_eq!(changed(16, &[0]), Err(Truncated));
    assert_eq!(changed(24, &[1, 0]), Err(Invalid("checkpoint behind the end")));
    assert_eq!(changed(32, &[1, 0]), Err(Invalid("checkpoint behind the end")));
    assert_eq!(changed(40, &[0xff; 8]), Err(Truncated));
    let row = |number: usize| HEADER + ROW * number;
    assert_eq!(changed(row(0) + 8, &[1]), Err(Invalid("first checkpoint")));
    assert_eq!(changed(row(1), &[10, 0]), Err(Invalid("checkpoints are not in order")));
    assert_eq!(changed(row(1) + 8, &[0, 0]), Err(Invalid("checkpoints are not in order")));
    assert_eq!(changed(row(1) + 16, &[0xff; 8]), Err(Invalid("windows are not in order")));
    assert_eq!(changed(row(2) + 16, &[0xff; 8]), Err(Invalid("size of the windows")));
    assert_eq!(changed(row(1) + 24, &[8]), Err(Invalid("bits of a checkpoint")));
    let empty = SeekBuilder::default();
    let mut bytes = Vec::new();
    empty.write(SeekEnd { blob: BlobOffset(0), stream: 0 }, &mut bytes).unwrap();
    assert_eq!(SeekIndex::parse(bytes).unwrap_err(), Invalid("no checkpoint"));
}

#[test]
fn every_changed_byte_is_noticed() {
    let bytes = sample();
    for cut in 0..bytes.len() {
        assert!(SeekIndex::parse(&bytes[..cut]).is_err());
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(SeekIndex::parse(changed).is_err(), "{at}");
    }
}

#[test]
fn some_spans_with_a_digest_and_some_without_are_refused() {
    let mut builder = SeekBuilder::default();
    let checkpoint = Checkpoint { blob_at: BlobOffset(10), bits: 0, stream_at: 0, window: Vec::new() };
    builder.push(&checkpoint, Some([0; 32]));
    builder.push(&Checkpoint { blob_at: BlobOffset(20), stream_at: 100, ..checkpoint }, None);
    assert!(builder.write(SeekEnd { blob: BlobOffset(30), stream: 200 }, &mut Vec::new()).is_err());
}

#[test]
fn units_of_a_blob_that_is_not_compressed_are_its_pieces() {
    let mut builder = SeekBuilder::plain();
    for at in [0, 40] {
        let checkpoint = Checkpoint { blob_at: BlobOffset(at), bits: 0, stream_at: at, window: Vec::new() };
        builder.push(&checkpoint, Some([0; 32]));
    }
    let mut bytes = Vec::new();
    builder.write(SeekEnd { blob: BlobOffset(100), stream: 90 }, &mut bytes).unwrap();
    let index = SeekIndex::parse(bytes).unwrap();
    assert!(index.is_plain());
    let blob: Vec<u8> = (0..100).collect();
    let mut spans = Spans::new(&index, UnitId(1), &blob[40..]).unwrap();
    let mut output = [0; 10];
    spans.fill(&mut output).unwrap();
    assert_eq!(output[..], blob[40..50]);
    assert_eq!(spans.fill(&mut [0; 51]), Err(InflateError::Truncated));
}
