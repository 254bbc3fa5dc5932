//! Where everything goes: the shape of each inode, then its place.

use super::{NodeProblem, WriteError, directory, xattr};
use crate::{
    NodeId, NodeKind, Tree,
    format::{BLOCK, CHUNK_BITS_MAX, ChunkIndex, INODE_SIZE, INODES_OFFSET, Layout, SLOT},
};

/// In [`Plan::nids`]: has no place. No inode lies at byte 0.
pub(super) const UNPLACED: u64 = 0;

/// What one inode needs, apart from its place.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    /// The inode's size field.
    pub(super) size: u64,
    /// Bytes of xattrs.
    pub(super) xattr_len: u64,
    /// Bytes of content behind header and xattrs.
    pub(super) tail: u64,
    /// Blocks of content elsewhere in the image.
    pub(super) overflow: u64,
    /// Entries in the chunk index.
    pub(super) chunks: u64,
}

impl Shape {
    pub(super) fn of(tree: &Tree, node: NodeId, data_blocks: u32) -> Result<Self, NodeProblem> {
        let metadata = tree.metadata(node);
        if metadata.permissions > 0o7777 {
            return Err(NodeProblem::Permissions(metadata.permissions));
        }
        if metadata.mtime.nanoseconds >= 1_000_000_000 {
            return Err(NodeProblem::Nanoseconds(metadata.mtime.nanoseconds));
        }
        let xattr_len = xattr::body_len(&metadata.xattrs)?;
        match tree.kind(node) {
            NodeKind::File { size, start_block } if *size > 0 => {
                let chunks = chunk_count(*size, *start_block, data_blocks)?;
                Ok(Self { layout: Layout::Chunk, size: *size, xattr_len, tail: 0, overflow: 0, chunks })
            }
            NodeKind::Directory => Ok(Self::content(directory::content_size(tree, node), xattr_len)),
            NodeKind::Symlink(target) => Ok(Self::content(target.len() as u64, xattr_len)),
            _ => Ok(Self::content(0, xattr_len)),
        }
    }

    /// Content within the image. What is left after whole blocks is inline if that fits a block together with header
    /// and xattrs: kernels take a symlink's target from the block of its header only. The gap that this may leave
    /// before a long tail costs less than a block for the tail.
    fn content(size: u64, xattr_len: u64) -> Self {
        let tail = size % BLOCK;
        if tail > 0 && INODE_SIZE + xattr_len + tail <= BLOCK {
            Self { layout: Layout::Inline, size, xattr_len, tail, overflow: size / BLOCK, chunks: 0 }
        } else {
            Self {
                layout: Layout::Plain,
                size,
                xattr_len,
                tail: 0,
                overflow: size.div_ceil(BLOCK),
                chunks: 0,
            }
        }
    }

    /// Bytes from the header to the end of tail or index.
    fn len(&self) -> u64 {
        let index = self.chunks * size_of::<ChunkIndex>() as u64;
        let head = INODE_SIZE + self.xattr_len;
        if index > 0 { head.next_multiple_of(8) + index } else { head + self.tail }
    }

    /// How many of them must lie in one block: a tail with its header, else (for tidiness) the header.
    fn unbroken(&self) -> u64 {
        if self.tail > 0 { self.len() } else { INODE_SIZE }
    }

    /// First place at or behind `cursor`.
    fn place(&self, cursor: u64) -> u64 {
        let start = cursor.next_multiple_of(SLOT);
        let fits = start % BLOCK + self.unbroken() <= BLOCK;
        if fits { start } else { start.next_multiple_of(BLOCK) }
    }
}

/// Index entries of a file: one, but for files above 8 TiB.
fn chunk_count(size: u64, start_block: u32, data_blocks: u32) -> Result<u64, NodeProblem> {
    let end = u64::from(start_block) + size.div_ceil(BLOCK);
    if end > u64::from(data_blocks) {
        return Err(NodeProblem::OutsideData { size, start_block, data_blocks });
    }
    Ok(size.div_ceil(1 << CHUNK_BITS_MAX))
}

/// Order and place of all inodes.
pub(super) struct Plan {
    /// Nodes in the order of their inodes.
    pub(super) order: Vec<NodeId>,
    /// By node: inode number, or [`UNPLACED`].
    pub(super) nids: Vec<u64>,
    /// By node: names, or for directories 2 + subdirectories.
    pub(super) nlinks: Vec<u32>,
    /// First block behind the inodes.
    pub(super) overflow_start: u32,
    /// All blocks of the image.
    pub(super) blocks: u32,
    pub(super) data_blocks: u32,
}

impl Plan {
    pub(super) fn of(tree: &Tree, data_blocks: u32) -> Result<Self, WriteError> {
        let (order, nlinks) = breadth_first(tree);
        let mut nids = vec![UNPLACED; tree.node_count()];
        let mut cursor = INODES_OFFSET as u64;
        let mut overflow = 0;
        for &node in &order {
            let shape =
                Shape::of(tree, node, data_blocks).map_err(|problem| WriteError::Node { node, problem })?;
            let offset = shape.place(cursor);
            nids[node.index()] = offset / SLOT;
            cursor = offset + shape.len();
            overflow += shape.overflow;
        }
        let overflow_start = cursor.div_ceil(BLOCK);
        let blocks = u32::try_from(overflow_start + overflow).map_err(|_| WriteError::ImageTooLarge)?;
        let overflow_start = u32::try_from(overflow_start).map_err(|_| WriteError::ImageTooLarge)?;
        Ok(Self { order, nids, nlinks, overflow_start, blocks, data_blocks })
    }

    pub(super) fn inodes(&self) -> u64 {
        self.order.len() as u64
    }

    /// The root comes first, in block 0 or 1.
    pub(super) fn root_nid(&self) -> u16 {
        let root = self.order.first().and_then(|root| self.nids.get(root.index()));
        root.and_then(|&nid| u16::try_from(nid).ok()).unwrap_or_default()
    }
}

/// All nodes that have a name, each once, and how many links each has.
fn breadth_first(tree: &Tree) -> (Vec<NodeId>, Vec<u32>) {
    let mut nlinks = vec![0_u32; tree.node_count()];
    let mut order = Vec::with_capacity(tree.node_count());
    order.push(tree.root());
    nlinks[tree.root().index()] = 2;
    let mut next = 0;
    while let Some(&directory) = order.get(next) {
        next += 1;
        for (_, child) in tree.children(directory) {
            let links = &mut nlinks[child.index()];
            if *links == 0 {
                order.push(child);
            }
            if matches!(tree.kind(child), NodeKind::Directory) {
                *links = 2;
                nlinks[directory.index()] += 1;
            } else {
                *links += 1;
            }
        }
    }
    (order, nlinks)
}
