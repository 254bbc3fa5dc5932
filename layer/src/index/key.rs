//! Names of the things in an index.

use std::fmt;

use crate::{DiffId, LayerDigest, TocDigest};

/// What an index, its cache file and its tree image belong to: a blob, and the description that was used for
/// it (one blob may have several: an eStargz TOC today, a SOCI index tomorrow).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexKey {
    /// The blob.
    pub layer: LayerDigest,
    /// What describes it.
    pub described_by: TocDigest,
}

impl IndexKey {
    /// Of a layer without a description: what it holds is learned when it is streamed. The diff id stands for the
    /// description: an image that claims another one for the same blob does not get this index, but is proven wrong.
    #[must_use]
    pub const fn streamed(layer: LayerDigest, diff_id: DiffId) -> Self {
        Self { layer, described_by: TocDigest::from_bytes(*diff_id.as_bytes()) }
    }
}

/// The name of its directory: `<64 hex digits of the layer>-<first 32 of the description>`. 128 bits are enough
/// there: nobody finds a second description, or a second diff id, with the same ones; and the chunk table holds the
/// whole digest.
impl fmt::Display for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.layer.hex(), &self.described_by.hex()[..32])
    }
}

/// Number of a chunk in its index: dense from 0, in the order of the data file and of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub u32);

impl ChunkId {
    /// As an index of bitmaps and slices.
    #[must_use]
    pub const fn index(self) -> usize {
        // A u32 fits usize on every target that can map a table.
        self.0 as usize
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a unit in its index: dense from 0, in the order of the blob. A unit is the least that can be decoded
/// (see [`super::Format`] for what that is); a chunk lies in one, or in several adjacent ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u32);

impl UnitId {
    /// As an index of slices.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an image's author says about reading ahead when a container starts (eStargz landmarks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landmark {
    /// Nothing.
    Absent,
    /// Nothing is worth fetching ahead.
    NoPrefetch,
    /// Files that a start needs come before this place in the blob.
    Prefetch(crate::BlobOffset),
}
