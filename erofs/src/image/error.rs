//! Why an image cannot be read.

use crate::format::Nid;

/// Why an image, or something in it, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Shorter than a block, or another magic.
    #[error("not an EROFS image")]
    NotErofs,
    /// The first block was changed after it was written.
    #[error("checksum of the first block is {found:#010x} and should be {computed:#010x}")]
    Checksum {
        /// In the superblock.
        found: u32,
        /// Over the block.
        computed: u32,
    },
    /// A feature or geometry that Peel does not write.
    #[error("image has {0}, which is not supported")]
    Unsupported(&'static str),
    /// Some of it is missing.
    #[error("image of {blocks} blocks is only {length} bytes long")]
    Truncated {
        /// As the superblock says.
        blocks: u32,
        /// As it is.
        length: u64,
    },
    /// What is there makes no sense.
    #[error("inode {nid} is corrupt: {problem}")]
    Corrupt {
        /// Which inode.
        nid: Nid,
        /// What about it.
        problem: &'static str,
    },
    /// The caller's mistake: a directory was wanted.
    #[error("inode {0} is not a directory")]
    NotADirectory(Nid),
    /// The caller's mistake: a symbolic link was wanted.
    #[error("inode {0} is not a symbolic link")]
    NotASymlink(Nid),
    /// The caller's mistake, or a file stored in a way that Peel does not use.
    #[error("inode {0} is not a regular file in one piece in the data device")]
    NotContiguous(Nid),
}
