//! Extended attributes: a header, ids of shared entries, then entries, right behind the inode's header.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// Entries are padded to it; also the unit of the inode's `xattr_icount` and of shared ids.
pub(crate) const XATTR_ALIGN: usize = 4;
/// Most bytes that `xattr_icount` can announce.
pub(crate) const XATTR_BODY_MAX: u64 = 12 + 4 * 65_534;
/// Longest value.
pub(crate) const XATTR_VALUE_MAX: usize = u16::MAX as usize;

#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct XattrHeader {
    /// Bloom filter of names; without meaning unless the superblock says so, which ours does not.
    pub name_filter: U32,
    pub shared_count: u8,
    pub reserved: [u8; 7],
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct XattrEntry {
    /// Of the name without its prefix.
    pub name_len: u8,
    pub name_index: u8,
    pub value_len: U16,
}

const _: () = assert!(size_of::<XattrHeader>() == 12 && size_of::<XattrEntry>() == 4);

/// The prefixes that an entry can name, and whether they are the whole name.
const PREFIXES: [(u8, &[u8], bool); 5] = [
    (1, b"user.", false),
    (2, b"system.posix_acl_access", true),
    (3, b"system.posix_acl_default", true),
    (4, b"trusted.", false),
    (6, b"security.", false),
];

/// Prefix of an index, if known. The kernel skips entries with others.
pub(crate) fn prefix_of_index(index: u8) -> Option<&'static [u8]> {
    PREFIXES.iter().find(|(it, ..)| *it == index).map(|(_, prefix, _)| *prefix)
}

/// A name as index and suffix. Nothing if no prefix fits, or the suffix is empty or too long for its length byte.
pub(crate) fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|&(index, prefix, whole)| {
        let suffix = name.strip_prefix(prefix)?;
        let fits = if whole { suffix.is_empty() } else { (1..=255).contains(&suffix.len()) };
        fits.then_some((index, suffix))
    })
}
