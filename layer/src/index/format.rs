//! Kinds of layers, told apart by how their chunks are decoded and verified.

use std::fmt;

/// A layer's format, as the chunk table has it (its numbers are on disk: docs/index-format.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// gzip members with a TOC at the end of the blob; a unit is a member.
    EStargz = 1,
    /// zstd frames with a TOC at the end of the blob; a unit is what lies between the starts of two chunks: the
    /// chunk's frame, and what the tar has behind it.
    ZstdChunked = 2,
    /// gzip with an index beside the image; a unit is the span between two checkpoints.
    Soci = 3,
    /// gzip that was streamed once; a unit is the span between two checkpoints.
    Gzip = 4,
    /// zstd that was streamed once; a unit is one or more frames.
    Zstd = 5,
    /// Uncompressed tar that was streamed once; a unit is a piece of it.
    Tar = 6,
}

impl Format {
    const ALL: [Self; 6] = [Self::EStargz, Self::ZstdChunked, Self::Soci, Self::Gzip, Self::Zstd, Self::Tar];

    /// As `peel layers` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EStargz => "estargz",
            Self::ZstdChunked => "zstd:chunked",
            Self::Soci => "soci",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Tar => "tar",
        }
    }

    /// Its index was learned by streaming the whole layer, and not from a description.
    #[must_use]
    pub const fn is_streamed(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd | Self::Tar)
    }

    /// Units are spans of one deflate stream: a third index file says where they begin and what went before.
    #[must_use]
    pub const fn has_seek_index(self) -> bool {
        matches!(self, Self::Gzip | Self::Soci)
    }

    /// The table has a digest for every chunk. Otherwise units are verified before they are decoded.
    #[must_use]
    pub const fn has_chunk_digests(self) -> bool {
        !matches!(self, Self::Soci)
    }

    /// A chunk may begin in one unit and end in another.
    pub(super) const fn crosses_units(self) -> bool {
        self.is_streamed()
    }

    /// Its number on disk.
    pub(super) const fn code(self) -> u32 {
        self as u32
    }

    pub(super) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.code() == code)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
