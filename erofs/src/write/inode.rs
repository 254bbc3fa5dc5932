//! Inodes with what follows them, and the blocks that did not fit there.

use zerocopy::{
    FromZeros, IntoBytes,
    little_endian::{I64, U16, U32, U64},
};

use super::{
    WriteError, directory,
    plan::{Plan, Shape},
    sink::Sink,
    xattr,
};
use crate::{
    NodeId, NodeKind, Tree,
    format::{
        BLOCK_BITS, CHUNK_BITS_MAX, CHUNK_FORMAT_INDEXES, ChunkIndex, ExtendedInode, FileType, Layout,
        NO_BLOCK, SLOT,
    },
};

/// Device id of file data: the first extra device.
const DATA_DEVICE: u16 = 1;

/// Blocks of a chunk of the largest size.
const CHUNK_BLOCKS_MAX: u32 = 1 << (CHUNK_BITS_MAX - BLOCK_BITS as u32);

pub(super) fn write_inodes(tree: &Tree, plan: &Plan, sink: &mut Sink<'_>) -> Result<(), WriteError> {
    let mut next_overflow = plan.overflow_start;
    let mut bytes = Vec::new();
    for &node in &plan.order {
        let shape = shape(tree, plan, node)?;
        bytes.clear();
        bytes.extend_from_slice(header(tree, plan, node, &shape, next_overflow).as_bytes());
        xattr::encode(&tree.metadata(node).xattrs, &mut bytes);
        match tree.kind(node) {
            NodeKind::File { start_block, .. } => chunk_index(&shape, *start_block, &mut bytes),
            _ if shape.tail > 0 => inline_tail(tree, plan, node, &shape, &mut bytes),
            _ => {}
        }
        sink.pad_to(plan.nids[node.index()] * SLOT)?;
        sink.write(&bytes)?;
        // Planned to stay below 2^32.
        next_overflow = next_overflow.wrapping_add(u32::try_from(shape.overflow).unwrap_or_default());
    }
    Ok(())
}

/// The blocks behind the inodes, in the same order.
pub(super) fn write_overflow(tree: &Tree, plan: &Plan, sink: &mut Sink<'_>) -> Result<(), WriteError> {
    sink.pad_to_block()?;
    let mut block = Vec::new();
    for &node in &plan.order {
        match tree.kind(node) {
            NodeKind::Directory => {
                let mut next_block = directory::blocks(tree, &plan.nids, node);
                for _ in 0..shape(tree, plan, node)?.overflow {
                    next_block(&mut block);
                    sink.write(&block)?;
                    sink.pad_to_block()?;
                }
            }
            NodeKind::Symlink(target) if shape(tree, plan, node)?.overflow > 0 => {
                sink.write(target)?;
                sink.pad_to_block()?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Computed again rather than kept: it would be the largest table of the writer.
fn shape(tree: &Tree, plan: &Plan, node: NodeId) -> Result<Shape, WriteError> {
    Shape::of(tree, node, plan.data_blocks).map_err(|problem| WriteError::Node { node, problem })
}

fn header(tree: &Tree, plan: &Plan, node: NodeId, shape: &Shape, next_overflow: u32) -> ExtendedInode {
    let metadata = tree.metadata(node);
    let kind = tree.kind(node);
    let ino = plan.nids[node.index()].to_le_bytes();
    let u = match kind {
        NodeKind::CharDevice(rdev) | NodeKind::BlockDevice(rdev) => rdev.encode(),
        NodeKind::Fifo | NodeKind::Socket => 0,
        NodeKind::File { .. } if shape.layout == Layout::Chunk => u32::from(chunk_format(shape.size)),
        _ if shape.overflow > 0 => next_overflow,
        _ => NO_BLOCK,
    };
    ExtendedInode {
        format: U16::new(shape.layout.extended_format()),
        xattr_icount: U16::new(xattr::icount(shape.xattr_len)),
        mode: U16::new(FileType::from(kind).mode_bits() | metadata.permissions),
        size: U64::new(shape.size),
        u: U32::new(u),
        // The low half: only 32-bit callers of stat(2) on old kernels see it.
        ino: U32::from_bytes([ino[0], ino[1], ino[2], ino[3]]),
        uid: U32::new(metadata.uid),
        gid: U32::new(metadata.gid),
        mtime: I64::new(metadata.mtime.seconds),
        mtime_nsec: U32::new(metadata.mtime.nanoseconds),
        nlink: U32::new(plan.nlinks[node.index()]),
        ..ExtendedInode::new_zeroed()
    }
}

/// Chunks as large as the file, so that one entry does, within what the field can say.
fn chunk_format(size: u64) -> u16 {
    let bits =
        (u64::BITS - size.saturating_sub(1).leading_zeros()).clamp(u32::from(BLOCK_BITS), CHUNK_BITS_MAX);
    CHUNK_FORMAT_INDEXES | ((bits - u32::from(BLOCK_BITS)) & 0x1f) as u16
}

fn chunk_index(shape: &Shape, start_block: u32, out: &mut Vec<u8>) {
    if shape.chunks == 0 {
        return;
    }
    out.resize(out.len().next_multiple_of(8), 0);
    let mut block = start_block;
    for _ in 0..shape.chunks {
        let entry =
            ChunkIndex { block_msb: U16::new(0), device: U16::new(DATA_DEVICE), block: U32::new(block) };
        out.extend_from_slice(entry.as_bytes());
        // Wraps behind the last entry only.
        block = block.wrapping_add(CHUNK_BLOCKS_MAX);
    }
}

/// The part of a directory or symlink that follows its inode.
fn inline_tail(tree: &Tree, plan: &Plan, node: NodeId, shape: &Shape, out: &mut Vec<u8>) {
    if let NodeKind::Symlink(target) = tree.kind(node) {
        out.extend_from_slice(target);
        return;
    }
    let mut next_block = directory::blocks(tree, &plan.nids, node);
    let mut block = Vec::new();
    for _ in 0..=shape.overflow {
        next_block(&mut block);
    }
    out.extend_from_slice(&block);
}
