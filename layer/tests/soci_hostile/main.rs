//! ztocs that nobody should write: each is refused with the reason, and costs no more than that.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod entries;
mod spans;

use peel_layer::soci::{EntryProblem, IndexError, SpanProblem, ZtocError, build_index};
use peel_layer::testing::IndexBytes;
use peel_layer::testing::ztoc::{Ztoc, ZtocEntry, checkpoints};
use peel_layer::{LayerDigest, LayerIndex, Limits, TocDigest, seek::SeekIndex};

const BLOB: i64 = 1000;
const ROWS: [(i64, i64, u8); 3] = [(10, 0, 0), (300, 4000, 3), (600, 8000, 0)];

fn digests(count: usize) -> Vec<String> {
    (0..count).map(|number| TocDigest::of(&[u8::try_from(number % 256).unwrap()]).to_string()).collect()
}

/// A sound one: two files, the first across two spans; three spans.
fn sound() -> Ztoc {
    Ztoc {
        compressed_size: BLOB,
        uncompressed_size: 10_240,
        entries: vec![ZtocEntry::new("a", "reg", 512, 5000), ZtocEntry::new("b", "reg", 6144, 100)],
        algorithm: 1,
        last_span: 2,
        span_digests: digests(3),
        checkpoints: checkpoints(3, &ROWS),
    }
}

fn build_with(ztoc: &[u8], limits: &Limits) -> Result<IndexBytes, IndexError> {
    let mut bytes = IndexBytes::default();
    let size = BLOB.cast_unsigned();
    build_index(LayerDigest::of(b"l"), size, ztoc, TocDigest::of(ztoc), limits, &mut bytes.files())?;
    // What was accepted can be opened.
    SeekIndex::parse(bytes.seek.clone()).unwrap();
    LayerIndex::parse(bytes.table.clone()).unwrap();
    Ok(bytes)
}

fn build(change: impl FnOnce(&mut Ztoc)) -> Result<IndexBytes, IndexError> {
    let mut ztoc = sound();
    change(&mut ztoc);
    build_with(&ztoc.to_bytes(), &Limits::default())
}

fn refused(change: impl FnOnce(&mut Ztoc)) -> ZtocError {
    match build(change).unwrap_err() {
        IndexError::Ztoc(error) => error,
        other => panic!("{other}"),
    }
}

fn refused_entry(change: impl FnOnce(&mut Vec<ZtocEntry>)) -> EntryProblem {
    match build(|ztoc| change(&mut ztoc.entries)).unwrap_err() {
        IndexError::Entry { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

/// The problem of the span with this number.
fn refused_span(number: usize, rows: &[(i64, i64, u8)]) -> SpanProblem {
    let count = i32::try_from(rows.len()).unwrap();
    let error = refused(|ztoc| {
        ztoc.checkpoints = checkpoints(count, rows);
        ztoc.span_digests = digests(rows.len());
        ztoc.last_span = count - 1;
    });
    match error {
        ZtocError::Span { number: found, problem } if found == number => problem,
        other => panic!("{other}"),
    }
}
