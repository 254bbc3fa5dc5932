//! Writes a [`Tree`] as an image.
//!
//! Sizes depend on names only, so everything has its place before the first byte is written: [`plan`] numbers the
//! inodes, then the image streams out in one pass, of which only the block with the checksum is held back. Beside
//! the tree that takes some 16 bytes a node, and one directory block.
//!
//! Inodes come breadth first: the root lies within the 2 MiB that its 16-bit nid reaches, and the children of a
//! directory side by side, which makes `ls -l` cheap. Equal trees give equal bytes: uuid, label and epoch are zero.

mod directory;
mod inode;
mod plan;
mod sink;
mod xattr;

use std::io;

use zerocopy::{
    FromZeros, IntoBytes,
    little_endian::{U16, U32, U64},
};

use self::{plan::Plan, sink::Sink};
use crate::{
    NodeId, Tree,
    format::{
        BLOCK, BLOCK_BITS, COMPAT_CHECKSUM, COMPAT_MTIME, DEVICE_SLOT, DeviceSlot, INCOMPAT_CHUNKED,
        INCOMPAT_DEVICE_TABLE, MAGIC, Nid, SUPERBLOCK_OFFSET, Superblock,
    },
};

/// Most blocks of the data device: its block numbers stay below 2^32 - 1, which means a hole. Just under 16 TiB.
pub const DATA_BLOCKS_MAX: u64 = u32::MAX as u64;

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A node has something that the format cannot hold.
    #[error("node {}: {problem}", node.index())]
    Node {
        /// Whose.
        node: NodeId,
        /// What.
        problem: NodeProblem,
    },
    /// More than [`DATA_BLOCKS_MAX`].
    #[error("a data device of {0} blocks, at most {DATA_BLOCKS_MAX} are possible")]
    DataTooLarge(u64),
    /// The image itself would have 2^32 blocks.
    #[error("the tree needs an image of 16 TiB or more")]
    ImageTooLarge,
    /// The output failed.
    #[error("cannot write the image: {0}")]
    Output(#[from] io::Error),
}

/// What the format cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeProblem {
    /// Bits beyond the twelve of [`Metadata::permissions`](crate::Metadata::permissions).
    #[error("permissions {0:#o} have more than twelve bits")]
    Permissions(u16),
    /// A second or more.
    #[error("{0} nanoseconds are a second or more")]
    Nanoseconds(u32),
    /// No prefix of the format begins this name, or the rest is empty or longer than 255 bytes. Those who build
    /// trees ask [`Xattr::is_storable`](crate::Xattr::is_storable) first.
    #[error("xattr {0:?} has a name that EROFS cannot hold")]
    XattrName(String),
    /// Longer than 65,535 bytes.
    #[error("xattr {name:?} has a value of {length} bytes")]
    XattrValue {
        /// Its name.
        name: String,
        /// Bytes.
        length: usize,
    },
    /// One name, two values.
    #[error("xattr {0:?} occurs twice")]
    XattrTwice(String),
    /// All together.
    #[error("xattrs of {0} bytes in all do not fit an inode")]
    XattrsTooLong(u64),
    /// A file's blocks are not all in the data device.
    #[error("{size} bytes from block {start_block} leave a data device of {data_blocks} blocks")]
    OutsideData {
        /// Of the file.
        size: u64,
        /// Of the file.
        start_block: u32,
        /// Of the device.
        data_blocks: u32,
    },
}

/// What was written.
#[derive(Debug, Clone)]
pub struct ImageSummary {
    /// Length of the image in 4 KiB blocks.
    pub blocks: u32,
    /// Inodes in it.
    pub inodes: u64,
    nids: Vec<u64>,
}

impl ImageSummary {
    /// Bytes of the image.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }

    /// Inode number of a node of the tree that was written; nothing if it has no name any more.
    #[must_use]
    pub fn nid(&self, node: NodeId) -> Option<Nid> {
        self.nids.get(node.index()).copied().filter(|&nid| nid != plan::UNPLACED).map(Nid)
    }
}

/// Writes `tree` as an image whose files lie in a data device of `data_blocks` blocks of 4 KiB.
///
/// # Errors
/// The output fails, or the tree holds what the format cannot; then `out` may have got a part of the image.
pub fn write_image(
    tree: &Tree,
    data_blocks: u64,
    out: &mut dyn io::Write,
) -> Result<ImageSummary, WriteError> {
    let data_blocks = u32::try_from(data_blocks).map_err(|_| WriteError::DataTooLarge(data_blocks))?;
    let plan = Plan::of(tree, data_blocks)?;
    let mut sink = Sink::new(out);
    write_superblock(&plan, data_blocks, &mut sink)?;
    inode::write_inodes(tree, &plan, &mut sink)?;
    inode::write_overflow(tree, &plan, &mut sink)?;
    sink.finish()?;
    Ok(ImageSummary { blocks: plan.blocks, inodes: plan.inodes(), nids: plan.nids })
}

/// All up to the first inode; the sink fills in the checksum.
fn write_superblock(plan: &Plan, data_blocks: u32, sink: &mut Sink<'_>) -> Result<(), WriteError> {
    let superblock = Superblock {
        magic: U32::new(MAGIC),
        feature_compat: U32::new(COMPAT_CHECKSUM | COMPAT_MTIME),
        blkszbits: BLOCK_BITS,
        root_nid: U16::new(plan.root_nid()),
        inos: U64::new(plan.inodes()),
        blocks: U32::new(plan.blocks),
        feature_incompat: U32::new(INCOMPAT_CHUNKED | INCOMPAT_DEVICE_TABLE),
        extra_devices: U16::new(1),
        devt_slotoff: U16::new(DEVICE_SLOT),
        ..Superblock::new_zeroed()
    };
    let device = DeviceSlot {
        blocks: U32::new(data_blocks),
        uniaddr: U32::new(plan.blocks),
        ..DeviceSlot::new_zeroed()
    };
    sink.pad_to(SUPERBLOCK_OFFSET as u64)?;
    sink.write(superblock.as_bytes())?;
    sink.write(device.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests;
