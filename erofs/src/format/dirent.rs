//! Directory blocks: `n` dirents, then their `n` names back to back. Names are sorted by unsigned bytes over the
//! whole directory, `.` and `..` included (so that neither must come first).

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U64},
};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Dirent {
    pub nid: U64,
    /// Of the name in this block. That of the first dirent tells how many there are. A name ends where the next
    /// begins, the last at a NUL or with the block or the directory.
    pub name_offset: U16,
    pub file_type: u8,
    pub reserved: u8,
}

/// Length of [`Dirent`].
pub(crate) const DIRENT_SIZE: usize = 12;

const _: () = assert!(size_of::<Dirent>() == DIRENT_SIZE);
