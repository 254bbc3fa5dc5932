//! The first block: is this an image that we can read, and where is what.

use super::{ReadError, View};
use crate::format::{
    BLOCK, BLOCK_BITS, BLOCK_LEN, COMPAT_CHECKSUM, DeviceSlot, INCOMPAT_CHUNKED, INCOMPAT_DEVICE_TABLE,
    MAGIC, Nid, SUPERBLOCK_OFFSET, Superblock, checksum,
};

/// What the superblock and the device table say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) root: Nid,
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) data_blocks: u32,
    /// Byte of inode 0.
    pub(super) meta_base: u64,
    /// Byte of shared xattr 0.
    pub(super) xattr_base: u64,
    /// Time to which compact inodes add theirs.
    pub(super) epoch: u64,
    pub(super) epoch_nanoseconds: u32,
}

impl Geometry {
    pub(super) fn parse(view: View<'_>) -> Result<Self, ReadError> {
        let first = view.0.first_chunk::<BLOCK_LEN>().ok_or(ReadError::NotErofs)?;
        let superblock: &Superblock = view.record(SUPERBLOCK_OFFSET as u64).ok_or(ReadError::NotErofs)?;
        if superblock.magic.get() != MAGIC {
            return Err(ReadError::NotErofs);
        }
        if superblock.feature_compat.get() & COMPAT_CHECKSUM == 0 {
            return Err(ReadError::Unsupported("no checksum"));
        }
        let (found, computed) = (superblock.checksum.get(), checksum(first));
        if found != computed {
            return Err(ReadError::Checksum { found, computed });
        }
        refuse_features(superblock)?;
        let length = view.0.len() as u64;
        let blocks = superblock.blocks.get();
        if u64::from(blocks) * BLOCK > length {
            return Err(ReadError::Truncated { blocks, length });
        }
        Ok(Self {
            root: Nid(u64::from(superblock.root_nid.get())),
            inodes: superblock.inos.get(),
            blocks,
            data_blocks: data_blocks(view, superblock)?,
            meta_base: u64::from(superblock.meta_blkaddr.get()) * BLOCK,
            xattr_base: u64::from(superblock.xattr_blkaddr.get()) * BLOCK,
            epoch: superblock.epoch.get(),
            epoch_nanoseconds: superblock.fixed_nsec.get(),
        })
    }
}

fn refuse_features(superblock: &Superblock) -> Result<(), ReadError> {
    let unknown = superblock.feature_incompat.get() & !(INCOMPAT_CHUNKED | INCOMPAT_DEVICE_TABLE);
    let refusals = [
        (unknown != 0, "an incompatible feature beyond chunks and devices"),
        (
            superblock.blkszbits != BLOCK_BITS || superblock.dirblkbits != 0,
            "blocks of another size than 4 KiB",
        ),
        (superblock.compression.get() != 0, "compression"),
        (superblock.extra_devices.get() > 1, "several data devices"),
    ];
    match refusals.into_iter().find(|(refused, _)| *refused) {
        Some((_, what)) => Err(ReadError::Unsupported(what)),
        None => Ok(()),
    }
}

/// Blocks of the one extra device, 0 if there is none.
fn data_blocks(view: View<'_>, superblock: &Superblock) -> Result<u32, ReadError> {
    if superblock.extra_devices.get() == 0 || superblock.feature_incompat.get() & INCOMPAT_DEVICE_TABLE == 0 {
        return Ok(0);
    }
    let at = u64::from(superblock.devt_slotoff.get()) * size_of::<DeviceSlot>() as u64;
    let slot: &DeviceSlot = view.record(at).ok_or(ReadError::Unsupported("a device table behind its end"))?;
    Ok(slot.blocks.get())
}
