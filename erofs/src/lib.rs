//! Writes and reads the tree image: EROFS, uncompressed, all file data in one extra device.
//!
//! A [`Tree`] is built in memory from whatever a layer's index says; [`write_image`] turns it into an image, which
//! the kernel mounts; [`Image`] reads it where the kernel does not; [`load_tree`] makes it a tree again.
//!
//! Nothing here does I/O, and no bytes make the reader panic.

mod format;
pub mod image;
mod load;
mod node;
pub mod tree;
mod write;

pub use format::{FileType, Nid};
pub use image::{DirEntry, Image, Inode, ReadError};
pub use load::{LoadError, load_tree};
pub use node::{Metadata, NodeKind, Rdev, Timestamp, Xattr};
pub use tree::{NodeId, Tree, TreeError};
pub use write::{DATA_BLOCKS_MAX, ImageSummary, NodeProblem, WriteError, write_image};
