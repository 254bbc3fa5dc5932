//! The files that an index consists of, while they are written.

use std::{fmt, io};

/// Where the parts of an index go. Whoever makes an index writes into these and knows no paths; the cache buffers,
/// syncs and names them.
pub struct IndexFiles<'a> {
    /// Tree image (docs/tree-image.md).
    pub tree: &'a mut dyn io::Write,
    /// Chunk table (docs/index-format.md).
    pub table: &'a mut dyn io::Write,
    /// Seek index, for formats whose units begin in the middle of a compressed stream. Others write nothing, and an
    /// empty one is not kept.
    pub seek: &'a mut dyn io::Write,
}

impl fmt::Debug for IndexFiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexFiles").finish_non_exhaustive()
    }
}
