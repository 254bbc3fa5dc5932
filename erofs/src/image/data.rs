//! Where a file's data is in the data device.

use zerocopy::FromBytes;

use super::{Inode, ReadError, View, superblock::Geometry};
use crate::{
    FileType,
    format::{BLOCK, BLOCK_BITS, CHUNK_FORMAT_BITS, CHUNK_FORMAT_INDEXES, ChunkIndex, Layout, NO_BLOCK},
};

pub(super) fn start(view: View<'_>, geometry: &Geometry, inode: &Inode) -> Result<Option<u64>, ReadError> {
    let not_contiguous = || ReadError::NotContiguous(inode.nid);
    if inode.file_type() != FileType::File {
        return Err(not_contiguous());
    }
    if inode.size == 0 {
        return Ok(None);
    }
    let format = chunk_format(inode).ok_or_else(not_contiguous)?;
    let chunk_blocks = 1_u64 << (format & CHUNK_FORMAT_BITS);
    let index =
        chunk_index(view, inode, chunk_blocks).ok_or_else(|| inode.corrupt("has no whole chunk index"))?;
    let first = index.first().map_or(NO_BLOCK, |it| it.block.get());
    let mut expected = u64::from(first);
    for entry in index {
        let here = entry.device.get() == 1 && entry.block.get() != NO_BLOCK;
        if !here || u64::from(entry.block.get()) != expected {
            return Err(not_contiguous());
        }
        expected += chunk_blocks;
    }
    if u64::from(first) + inode.size.div_ceil(BLOCK) > u64::from(geometry.data_blocks) {
        return Err(inode.corrupt("has data outside of the data device"));
    }
    Ok(Some(u64::from(first) * BLOCK))
}

/// Chunk format, if it is one that can name a device.
fn chunk_format(inode: &Inode) -> Option<u16> {
    let format = u16::try_from(inode.u).ok().filter(|_| inode.layout == Layout::Chunk)?;
    (format & !CHUNK_FORMAT_BITS == CHUNK_FORMAT_INDEXES).then_some(format)
}

/// The whole index of a file: as long as the image at most.
fn chunk_index<'a>(view: View<'a>, inode: &Inode, chunk_blocks: u64) -> Option<&'a [ChunkIndex]> {
    // 2^31 blocks at most.
    let entries = inode.size.div_ceil(chunk_blocks << BLOCK_BITS);
    let at = inode.body().next_multiple_of(align_of::<u64>() as u64);
    let bytes = view.slice(at, entries.checked_mul(size_of::<ChunkIndex>() as u64)?)?;
    <[ChunkIndex]>::ref_from_bytes(bytes).ok()
}
