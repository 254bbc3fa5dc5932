//! An index that is written into memory.

use std::io;

use crate::index::IndexFiles;

/// The bytes of an index's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexBytes {
    /// Tree image.
    pub tree: Vec<u8>,
    /// Chunk table.
    pub table: Vec<u8>,
    /// Seek index; empty for formats that have none.
    pub seek: Vec<u8>,
}

impl IndexBytes {
    /// As whoever makes an index takes them.
    pub fn files(&mut self) -> IndexFiles<'_> {
        IndexFiles { tree: &mut self.tree, table: &mut self.table, seek: &mut self.seek }
    }

    /// Writes them to other files.
    ///
    /// # Errors
    /// What those say.
    pub fn write_to(&self, files: &mut IndexFiles<'_>) -> io::Result<()> {
        files.tree.write_all(&self.tree)?;
        files.table.write_all(&self.table)?;
        files.seek.write_all(&self.seek)
    }
}
