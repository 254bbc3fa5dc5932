//! What is executed, as numbers that mean the same in every daemon: a request of the kernel's, or work on a layer.

use std::ops::Range;

use peel_layer::{BlobOffset, DataOffset, LayerDigest, serve};

use crate::{NodeId, Opcode};

/// Set in the number of a request that was sent again (`FUSE_UNIQUE_RESEND`).
pub(super) const RESENT: u64 = 1 << 63;

/// In place of an opcode, which is below 100.
const INDEX: u64 = 100;
const BYTES: u64 = 101;
const INFLATE: u64 = 102;
const UNTAR: u64 = 103;

/// What a thread executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(super) unique: u64,
    pub(super) node: u64,
    pub(super) opcode: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Work {
    pub(crate) fn new(unique: u64, node: NodeId, opcode: Opcode) -> Self {
        Self { unique: unique & !RESENT, node: node.get(), opcode: opcode as u64, offset: 0, length: 0 }
    }

    /// It reads these bytes.
    pub(crate) fn of(self, offset: u64, length: u32) -> Self {
        Self { offset, length: length.into(), ..self }
    }

    /// Whether this asks for what `other` asked for.
    pub(super) fn resembles(&self, other: &Self) -> bool {
        let overlaps = self.offset < other.offset.saturating_add(other.length)
            && other.offset < self.offset.saturating_add(self.length);
        (self.node, self.opcode) == (other.node, other.opcode) && (self.length == 0 || overlaps)
    }

    /// Whether who does this has done `other` in the same life: a layer is streamed from its beginning.
    pub(super) fn has_passed(&self, other: &Self) -> bool {
        let is_stream = matches!(self.opcode, INFLATE | UNTAR);
        is_stream && (self.node, self.opcode) == (other.node, other.opcode) && self.offset > other.offset
    }
}

impl From<serve::Work> for Work {
    fn from(work: serve::Work) -> Self {
        // The layer's number is as much of its digest as fits. The same work has the same number in every daemon.
        let number = |layer: LayerDigest| {
            let [a, b, c, d, e, f, g, h, ..] = *layer.as_bytes();
            u64::from_le_bytes([a, b, c, d, e, f, g, h]) & !RESENT | 1
        };
        let (layer, opcode, offset, end) = match work {
            serve::Work::Index(layer) => (layer, INDEX, 0, 0),
            serve::Work::Bytes(layer, Range { start: DataOffset(start), end: DataOffset(end) }) => {
                (layer, BYTES, start, end)
            }
            serve::Work::Inflate(layer, Range { start: BlobOffset(start), end: BlobOffset(end) }) => {
                (layer, INFLATE, start, end)
            }
            serve::Work::Untar(layer, Range { start, end }) => (layer, UNTAR, start, end),
        };
        let length = end.saturating_sub(offset);
        Self { unique: number(layer), node: number(layer), opcode, offset, length }
    }
}
