//! The only unsafe code of this crate: mapping a file that nobody changes.
#![expect(unsafe_code, reason = "mapping a file is unsafe by nature")]

use std::{fmt, fs::File, io};

/// A whole file, mapped read-only. Costs no descriptor and no anonymous memory.
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        // SAFETY: a mapping is sound while nobody changes or truncates the file. Only index files are mapped:
        // they are written under a temporary name, renamed into a directory of mode 0700, and from then on
        // unlinked at most (the mapping keeps the inode). Chunk data and maps, which do change, are read with
        // pread. `read` cannot replace this: P7 forbids 200 chunk tables in anonymous memory.
        unsafe { memmap2::Mmap::map(file) }.map(Self)
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappedFile({} bytes)", self.0.len())
    }
}
