//! The tree image of an index, as every format writes it.

use std::io;

use peel_erofs::{Tree, WriteError, write_image};

use super::HashingWriter;
use crate::DataOffset;
use crate::data::BLOCK;

/// A tree image that was written.
#[derive(Debug)]
pub(crate) struct WrittenTree {
    /// sha256 of its file.
    pub(crate) digest: [u8; 32],
    /// Inodes of the tree.
    pub(crate) inodes: u64,
    /// Bytes of the image.
    pub(crate) bytes: u64,
}

/// Writes the image of `tree`, whose files lie in a data file of `data_size` bytes, and flushes it.
pub(crate) fn write_tree(
    tree: &Tree,
    data_size: DataOffset,
    out: &mut dyn io::Write,
) -> Result<WrittenTree, WriteError> {
    let mut hashing = HashingWriter::new(io::BufWriter::with_capacity(1 << 16, out));
    let image = write_image(tree, data_size.0 / BLOCK, &mut hashing)?;
    let (digest, mut out) = hashing.finish();
    io::Write::flush(&mut out)?;
    Ok(WrittenTree { digest, inodes: image.inodes, bytes: image.size() })
}
