use super::named::{NamedUnits, Piece};
use super::*;
use crate::ChunkDigest;
use crate::inflate::EXPANSION_MAX;

const END: BlobOffset = BlobOffset(1000);

/// Where a piece lies in its file, and where it comes from.
type Placed = (u64, Piece);

fn piece(at: u64, length: u64, unit: u64, inner: u64) -> Placed {
    (at, Piece { length, unit: BlobOffset(unit), inner, digest: ChunkDigest::of(b"") })
}

/// Places in the data file, with chunks of gzip members.
struct Both {
    layout: DataLayout,
    units: NamedUnits,
}

impl Both {
    fn new() -> Self {
        Self { layout: DataLayout::default(), units: NamedUnits::new(END, EXPANSION_MAX) }
    }

    fn chunk(&mut self, (at, piece): &Placed) -> Result<(), LayoutError> {
        let place = self.layout.chunk(*at, piece.length)?;
        self.units.chunk(piece, place)
    }
}

/// Lays out files, each a size and its pieces; gives first blocks and the size of the data file.
fn layout(files: &[(u64, &[Placed])]) -> Result<(Vec<u32>, u64), LayoutError> {
    let mut both = Both::new();
    let mut blocks = Vec::new();
    for (size, pieces) in files {
        blocks.push(both.layout.open(*size, true)?);
        pieces.iter().try_for_each(|piece| both.chunk(piece))?;
        both.layout.close()?;
    }
    both.units.finish()?;
    Ok((blocks, both.layout.size().0))
}

fn one(size: u64, pieces: &[Placed]) -> Result<(), LayoutError> {
    layout(&[(size, pieces)]).map(drop)
}

#[test]
fn files_have_blocks_of_their_own() {
    let files: [(u64, &[Placed]); 4] = [
        (1, &[piece(0, 1, 10, 0)]),
        (0, &[]),
        (4097, &[piece(0, 4096, 20, 0), piece(4096, 1, 30, 5)]),
        (4096, &[piece(0, 4096, 30, 6)]),
    ];
    assert_eq!(layout(&files), Ok((vec![0, 1, 1, 3], 4 * 4096)));
    assert_eq!(layout(&[]), Ok((vec![], 0)));
}

#[test]
fn chunks_cover_their_file() {
    assert_eq!(one(5, &[]), Err(LayoutError::Gap { at: 0, size: 5 }));
    assert_eq!(one(5, &[piece(1, 4, 10, 0)]), Err(LayoutError::Gap { at: 0, size: 5 }));
    assert_eq!(one(5, &[piece(0, 4, 10, 0)]), Err(LayoutError::Gap { at: 4, size: 5 }));
    let twice = [piece(0, 4, 10, 0), piece(3, 2, 20, 0)];
    assert_eq!(one(5, &twice), Err(LayoutError::Overlap { at: 3, size: 5 }));
    assert_eq!(one(5, &[piece(0, 6, 10, 0)]), Err(LayoutError::Overlap { at: 0, size: 5 }));
    let behind = [piece(0, 5, 10, 0), piece(5, 1, 20, 0)];
    assert_eq!(one(5, &behind), Err(LayoutError::Overlap { at: 5, size: 5 }));
    let empty = [piece(0, 0, 10, 0), piece(0, 5, 20, 0)];
    assert_eq!(one(5, &empty), Err(LayoutError::ChunkSize(0)));
    assert_eq!(Both::new().chunk(&piece(0, 1, 10, 0)), Err(LayoutError::NoFile));
}

#[test]
fn holes_cover_too() {
    let mut both = Both::new();
    assert_eq!(both.layout.open(100_000, true), Ok(0));
    assert_eq!(both.layout.hole(0, 90_000), Ok(()));
    assert_eq!(both.layout.hole(80_000, 20_000), Err(LayoutError::Overlap { at: 80_000, size: 100_000 }));
    assert_eq!(both.chunk(&piece(90_000, 9999, 900, 0)), Ok(()));
    assert_eq!(both.layout.hole(99_999, 2), Err(LayoutError::Overlap { at: 99_999, size: 100_000 }));
    assert_eq!(both.layout.hole(99_999, 1), Ok(()));
    assert_eq!(both.layout.close(), Ok(()));
    let table = both.units.finish().unwrap();
    assert_eq!((table.chunk_count(), table.content_size()), (1, 9999));
}

#[test]
fn chunks_follow_the_blob() {
    let outside = LayoutError::OutsideBlob { at: END, end: END };
    assert_eq!(one(1, &[piece(0, 1, END.0, 0)]), Err(outside));
    let order = |at| Err(LayoutError::Order { at: BlobOffset(at) });
    assert_eq!(one(2, &[piece(0, 1, 20, 0), piece(1, 1, 10, 0)]), order(10));
    assert_eq!(one(4, &[piece(0, 2, 20, 0), piece(2, 2, 20, 1)]), order(20));
    assert_eq!(one(4, &[piece(0, 2, 20, 0), piece(2, 2, 20, 2)]), Ok(()));
}

#[test]
fn nothing_overflows() {
    assert_eq!(one(u64::MAX, &[]), Err(LayoutError::TooLarge));
    assert_eq!(one(16 << 40, &[]), Err(LayoutError::TooLarge));
    assert_eq!(one(1, &[piece(0, 1, 10, u64::MAX)]), Err(LayoutError::TooLarge));
    assert_eq!(one(u64::from(CHUNK_MAX) + 1, &[piece(0, u64::from(CHUNK_MAX) + 1, 1, 0)]), {
        Err(LayoutError::ChunkSize(u64::from(CHUNK_MAX) + 1))
    });
}

#[test]
fn small_blobs_hold_little() {
    let claim = |length| one(length, &[piece(0, length, 900, 0)]);
    assert_eq!(claim(100 * EXPANSION_MAX), Ok(()));
    let impossible = LayoutError::Impossible { at: BlobOffset(900), held: 100, claimed: 103_201 };
    assert_eq!(claim(100 * EXPANSION_MAX + 1), Err(impossible));
    // Also when the next unit begins.
    let next = [piece(0, 2000, 900, 0), piece(2000, 1, 901, 0)];
    assert!(matches!(one(2001, &next), Err(LayoutError::Impossible { held: 1, .. })));
}

#[test]
fn what_the_tree_lacks_has_no_place_but_is_checked() {
    let mut both = Both::new();
    assert_eq!(both.layout.open(5000, false), Ok(0));
    assert_eq!(both.chunk(&piece(0, 5000, 10, 0)), Ok(()));
    assert_eq!(both.layout.close(), Ok(()));
    assert_eq!(both.layout.open(1, true), Ok(0));
    assert_eq!(both.chunk(&piece(0, 1, 5, 0)), Err(LayoutError::Order { at: BlobOffset(5) }));
}
