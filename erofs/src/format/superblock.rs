//! Superblock, device slot and the checksum over both.

use std::mem::offset_of;

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use super::BLOCK_LEN;

pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;
/// Bytes before it belong to boot loaders.
pub(crate) const SUPERBLOCK_OFFSET: usize = 1024;
/// `devt_slotoff` of a slot directly behind the superblock, in units of a slot.
pub(crate) const DEVICE_SLOT: u16 = 9;
/// Where the first inode (the root) can be.
pub(crate) const INODES_OFFSET: usize = (DEVICE_SLOT as usize + 1) * size_of::<DeviceSlot>();

/// The checksum field is filled.
pub(crate) const COMPAT_CHECKSUM: u32 = 1;
/// Times are times of modification.
pub(crate) const COMPAT_MTIME: u32 = 2;
/// Files may use [`super::Layout::Chunk`].
pub(crate) const INCOMPAT_CHUNKED: u32 = 4;
/// There is a table of extra devices.
pub(crate) const INCOMPAT_DEVICE_TABLE: u32 = 8;

#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Superblock {
    pub magic: U32,
    pub checksum: U32,
    pub feature_compat: U32,
    pub blkszbits: u8,
    /// 16-byte units behind the 128 bytes.
    pub extslots: u8,
    /// 16 bits: the root lies in the first 2 MiB.
    pub root_nid: U16,
    pub inos: U64,
    /// Base of the times of compact inodes, seconds.
    pub epoch: U64,
    pub fixed_nsec: U32,
    pub blocks: U32,
    pub meta_blkaddr: U32,
    pub xattr_blkaddr: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub feature_incompat: U32,
    pub compression: U16,
    pub extra_devices: U16,
    pub devt_slotoff: U16,
    pub dirblkbits: u8,
    pub xattr_prefix_count: u8,
    pub xattr_prefix_start: U32,
    pub packed_nid: U64,
    pub reserved: [u8; 24],
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct DeviceSlot {
    pub tag: [u8; 64],
    pub blocks: U32,
    /// Where the device would be if it were appended to the image.
    pub uniaddr: U32,
    pub reserved: [u8; 56],
}

const _: () = assert!(size_of::<Superblock>() == 128 && size_of::<DeviceSlot>() == 128);
const _: () =
    assert!(SUPERBLOCK_OFFSET + size_of::<Superblock>() == DEVICE_SLOT as usize * size_of::<DeviceSlot>());

/// Checksum of a first block: CRC-32C from byte 1024 to its end, the checksum field taken as zero, without the
/// usual final inversion. It covers the device slot and every inode in that block, so it is computed last.
pub(crate) fn checksum(block: &[u8; BLOCK_LEN]) -> u32 {
    const FIELD: usize = SUPERBLOCK_OFFSET + offset_of!(Superblock, checksum);
    let head = crc32c::crc32c(&block[SUPERBLOCK_OFFSET..FIELD]);
    let zeroed = crc32c::crc32c_append(head, &[0; 4]);
    !crc32c::crc32c_append(zeroed, &block[FIELD + 4..])
}
