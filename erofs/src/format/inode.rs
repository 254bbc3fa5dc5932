//! Inode headers and the chunk index behind those of regular files.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{I64, U16, U32, U64},
};

/// Length of [`ExtendedInode`], the only form that we write.
pub(crate) const INODE_SIZE: u64 = 64;

/// "No block here": a hole in a chunk index, or an inode whose content is all inline.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

/// Chunk format, low five bits: log2 of the chunk size in blocks.
pub(crate) const CHUNK_FORMAT_BITS: u16 = 0x1f;
/// Chunk format: the index has 8-byte entries, which alone can name a device.
pub(crate) const CHUNK_FORMAT_INDEXES: u16 = 0x20;
/// log2 of the largest chunk, 8 TiB: five bits for the size and 12 for the block. One more would run into
/// [`CHUNK_FORMAT_INDEXES`] and silently mean 4 KiB chunks.
pub(crate) const CHUNK_BITS_MAX: u32 = 31 + 12;

/// How an inode's content is found; the codes are bits 1 to 3 of the format field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Consecutive blocks of the image.
    Plain = 0,
    /// The same, but what is left after the last whole block follows the header.
    Inline = 2,
    /// A chunk index follows the header.
    Chunk = 4,
}

impl Layout {
    /// Format field of a 64-byte inode (bit 0).
    pub(crate) fn extended_format(self) -> u16 {
        ((self as u16) << 1) | 1
    }

    /// Layout in a format field, unless compressed or unknown.
    pub(crate) fn from_format(format: u16) -> Option<Self> {
        match format >> 1 {
            0 => Some(Self::Plain),
            2 => Some(Self::Inline),
            4 => Some(Self::Chunk),
            _ => None,
        }
    }
}

/// The 64-byte form: 32-bit owners, own time.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ExtendedInode {
    pub format: U16,
    pub xattr_icount: U16,
    pub mode: U16,
    pub nb: U16,
    pub size: U64,
    /// First block, chunk format or device number, by layout and type.
    pub u: U32,
    pub ino: U32,
    pub uid: U32,
    pub gid: U32,
    pub mtime: I64,
    pub mtime_nsec: U32,
    pub nlink: U32,
    pub reserved: [u8; 16],
}

/// The 32-byte form, which we only read.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CompactInode {
    pub format: U16,
    pub xattr_icount: U16,
    pub mode: U16,
    pub nlink: U16,
    pub size: U32,
    /// Seconds after the superblock's epoch.
    pub mtime: U32,
    pub u: U32,
    pub ino: U32,
    pub uid: U16,
    pub gid: U16,
    pub reserved: U32,
}

/// Where one chunk of a file begins.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ChunkIndex {
    pub block_msb: U16,
    /// 0 = the image itself, 1 = the data device.
    pub device: U16,
    pub block: U32,
}

const _: () = assert!(size_of::<ExtendedInode>() == 64 && size_of::<CompactInode>() == 32);
const _: () = assert!(size_of::<ChunkIndex>() == 8);
