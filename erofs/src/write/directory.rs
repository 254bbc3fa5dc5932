//! A directory's content: its entries in order, cut into blocks.

use std::iter::{self, Peekable};

use zerocopy::{
    IntoBytes,
    little_endian::{U16, U64},
};

use crate::{
    NodeId, Tree,
    format::{BLOCK, BLOCK_LEN, DIRENT_SIZE, Dirent, FileType},
};

/// Names in the order of the format. `.` and `..` have no fixed place: a space sorts before them.
fn entries(tree: &Tree, directory: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
    // The root is its own parent.
    let parent = tree.parent_of(directory).unwrap_or(directory);
    let mut dots = [(b".".as_slice(), directory), (b"..", parent)].into_iter().peekable();
    let mut children = tree.children(directory).peekable();
    iter::from_fn(move || match (dots.peek(), children.peek()) {
        (Some((dot, _)), Some((child, _))) if child < dot => children.next(),
        (Some(_), _) => dots.next(),
        (None, _) => children.next(),
    })
}

/// Bytes of a directory's content: whole blocks, then what the last one uses.
pub(super) fn content_size(tree: &Tree, directory: NodeId) -> u64 {
    let (mut whole, mut used) = (0, 0);
    for (name, _) in entries(tree, directory) {
        let need = DIRENT_SIZE + name.len();
        if used + need > BLOCK_LEN {
            whole += 1;
            used = 0;
        }
        used += need;
    }
    whole * BLOCK + used as u64
}

/// Blocks of the content of one directory, one after the other.
pub(super) fn blocks<'a>(
    tree: &'a Tree,
    nids: &'a [u64],
    directory: NodeId,
) -> impl FnMut(&mut Vec<u8>) + 'a {
    let mut entries = entries(tree, directory).peekable();
    let mut batch = Vec::new();
    move |block| {
        take_block(&mut entries, &mut batch);
        encode_block(tree, nids, &batch, block);
    }
}

/// Moves what fits the next block into `batch`.
fn take_block<'a>(
    entries: &mut Peekable<impl Iterator<Item = (&'a [u8], NodeId)>>,
    batch: &mut Vec<(&'a [u8], NodeId)>,
) {
    batch.clear();
    let mut used = 0;
    while let Some(entry) = entries.next_if(|(name, _)| used + DIRENT_SIZE + name.len() <= BLOCK_LEN) {
        used += DIRENT_SIZE + entry.0.len();
        batch.push(entry);
    }
}

/// Replaces `block` by dirents and names, without padding.
fn encode_block(tree: &Tree, nids: &[u64], batch: &[(&[u8], NodeId)], block: &mut Vec<u8>) {
    block.clear();
    let mut name_offset = batch.len() * DIRENT_SIZE;
    for (name, node) in batch {
        let dirent = Dirent {
            nid: U64::new(nids[node.index()]),
            // Below 4096: the names fit the block.
            name_offset: U16::new(u16::try_from(name_offset).unwrap_or_default()),
            file_type: FileType::from(tree.kind(*node)) as u8,
            reserved: 0,
        };
        block.extend_from_slice(dirent.as_bytes());
        name_offset += name.len();
    }
    for (name, _) in batch {
        block.extend_from_slice(name);
    }
}
