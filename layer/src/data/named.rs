//! Chunks of formats whose index says in which unit each lies: eStargz and zstd:chunked.
//!
//! Chunks come in the order of the data file. It is checked that this is the order of the blob too, that units lie
//! inside the blob, and that no chunk claims more bytes than its unit can hold: a small blob cannot make a huge data
//! file.

use super::LayoutError;
use crate::index::{Chunk, LargeFile, TableBuilder};
use crate::{BlobOffset, ChunkDigest, DataOffset};

/// Where a chunk comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) length: u64,
    /// Where its unit begins in the blob.
    pub(crate) unit: BlobOffset,
    /// Where it begins in the unit, decoded.
    pub(crate) inner: u64,
    pub(crate) digest: ChunkDigest,
}

#[derive(Debug, Clone, Copy)]
struct Unit {
    start: BlobOffset,
    number: u32,
    /// Decoded bytes that its chunks reach to.
    reach: u64,
}

/// Collects units and chunks.
#[derive(Debug)]
pub(crate) struct NamedUnits {
    table: TableBuilder,
    /// End of what may hold chunks.
    end: BlobOffset,
    /// Most bytes that the format's compression makes of one.
    expansion: u64,
    unit: Option<Unit>,
}

impl NamedUnits {
    /// For chunks that lie before `end` in the blob, and a compression that makes at most `expansion` bytes of one.
    pub(crate) fn new(end: BlobOffset, expansion: u64) -> Self {
        Self { table: TableBuilder::default(), end, expansion, unit: None }
    }

    /// Adds a chunk, which lies at `place`, or nowhere if it is only checked.
    pub(crate) fn chunk(&mut self, piece: &Piece, place: Option<DataOffset>) -> Result<(), LayoutError> {
        let number = self.reach(piece)?;
        if let Some(place) = place {
            self.table.chunk(&Chunk {
                data: place.span(piece.length),
                units: number..number.saturating_add(1),
                inner: piece.inner,
                digest: Some(piece.digest),
            });
        }
        Ok(())
    }

    /// Notes a file of several chunks.
    pub(crate) fn file(&mut self, file: &LargeFile) {
        self.table.file(file);
    }

    /// The rows of the table.
    pub(crate) fn finish(self) -> Result<TableBuilder, LayoutError> {
        self.check_unit(self.end)?;
        Ok(self.table)
    }

    /// Goes on to the unit of `piece` and says its number.
    fn reach(&mut self, piece: &Piece) -> Result<u32, LayoutError> {
        let at = piece.unit;
        if at >= self.end {
            return Err(LayoutError::OutsideBlob { at, end: self.end });
        }
        let end = piece.inner.checked_add(piece.length).ok_or(LayoutError::TooLarge)?;
        match &mut self.unit {
            Some(unit) if at < unit.start || (at == unit.start && piece.inner < unit.reach) => {
                Err(LayoutError::Order { at })
            }
            Some(unit) if at == unit.start => {
                unit.reach = end;
                Ok(unit.number)
            }
            _ => {
                self.check_unit(at)?;
                let number = self.table.unit(at);
                self.unit = Some(Unit { start: at, number, reach: end });
                Ok(number)
            }
        }
    }

    /// Checks the current unit, which ends at `end`.
    fn check_unit(&self, end: BlobOffset) -> Result<(), LayoutError> {
        let Some(Unit { start, reach, .. }) = self.unit else { return Ok(()) };
        let held = end.0.saturating_sub(start.0);
        if reach > held.saturating_mul(self.expansion) {
            return Err(LayoutError::Impossible { at: start, held, claimed: reach });
        }
        Ok(())
    }
}
