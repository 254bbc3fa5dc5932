//! Why a layer's entry cannot be unpacked.

use peel_erofs::TreeError;

/// What is wrong with an entry. The message goes behind the entry's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The name, or a hard link's target, has more `..` than directories before them.
    #[error("path leaves the root")]
    LeavesRoot,
    /// Longer than the kernel's `PATH_MAX`, links resolved.
    #[error("path is longer than {} bytes", super::path::PATH_MAX)]
    PathTooLong,
    /// A parent is something else, in this layer.
    #[error("a parent is not a directory")]
    ParentNotADirectory,
    /// Symlinks of this layer lead in a circle, or nearly.
    #[error("more than {} symlinks in its path", super::path::LINKS_MAX)]
    TooManyLinks,
    /// Layer-wide limit on work.
    #[error("resolving the layer's paths takes too many steps")]
    TooManyLookups,
    /// A hard link to nothing.
    #[error("hard link to something that the layer does not have")]
    NoTarget,
    /// `.wh.`, `.wh..` or `.wh...`.
    #[error("whiteout of no name")]
    InvalidWhiteout,
    /// containerd's mknod fails with EEXIST.
    #[error("whiteout of a name that the same layer has made")]
    WhiteoutOfOwn,
    /// Layer-wide limit on memory.
    #[error("more than {0} files and directories")]
    TooManyNodes(u64),
    /// Layer-wide limit on memory.
    #[error("paths of implied directories are longer than {0} bytes")]
    TooManyImplied(u64),
    /// An xattr that no filesystem would take.
    #[error("xattr {name:?}: {problem}")]
    Xattr {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Name, symlink target or device number.
    #[error(transparent)]
    Tree(#[from] TreeError),
}
