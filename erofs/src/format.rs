//! The bytes of the format, shared by writer and reader. Everything is little endian.
//!
//! Only what a tree image needs exists here: 4 KiB blocks, no compression, one extra device for file data. The
//! names of fields are the kernel's (`fs/erofs/erofs_fs.h`), without their prefixes.
//!
//! ```text
//! block 0: 1024 free bytes | superblock | device slot | inodes ...
//! then   : inodes, each followed by its xattrs and by its inline tail or its chunk index
//! then   : whole blocks of large directories and long symlinks
//! ```
//! Byte offset of an inode = `nid * 32` (plus `meta_blkaddr` blocks, 0 when we write).

mod dirent;
mod file_type;
mod inode;
mod superblock;
mod xattr;

pub(crate) use dirent::{DIRENT_SIZE, Dirent};
pub use file_type::FileType;
pub(crate) use inode::{
    CHUNK_BITS_MAX, CHUNK_FORMAT_BITS, CHUNK_FORMAT_INDEXES, ChunkIndex, CompactInode, ExtendedInode,
    INODE_SIZE, Layout, NO_BLOCK,
};
pub(crate) use superblock::{
    COMPAT_CHECKSUM, COMPAT_MTIME, DEVICE_SLOT, DeviceSlot, INCOMPAT_CHUNKED, INCOMPAT_DEVICE_TABLE,
    INODES_OFFSET, MAGIC, SUPERBLOCK_OFFSET, Superblock, checksum,
};
pub(crate) use xattr::{
    XATTR_ALIGN, XATTR_BODY_MAX, XATTR_VALUE_MAX, XattrEntry, XattrHeader, prefix_of_index, split_name,
};

/// Bytes of a block, as a file offset. The kernel wants it equal to the page size before 6.4.
pub(crate) const BLOCK: u64 = 4096;

/// The same, as a length in memory.
pub(crate) const BLOCK_LEN: usize = 4096;

/// log2 of [`BLOCK`].
pub(crate) const BLOCK_BITS: u8 = 12;

/// Inodes start at multiples of this many bytes; also the unit of a nid.
pub(crate) const SLOT: u64 = 32;

/// Number of an inode: its place in the image, in units of 32 bytes. Also its `st_ino`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nid(pub u64);

impl std::fmt::Display for Nid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
