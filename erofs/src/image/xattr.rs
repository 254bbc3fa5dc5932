//! Extended attributes: those behind the inode first, then those shared with other inodes, as the kernel has it.

use zerocopy::{FromBytes, little_endian::U32};

use super::{Inode, ReadError, View, superblock::Geometry};
use crate::{
    Xattr,
    format::{XATTR_ALIGN, XattrEntry, XattrHeader, prefix_of_index},
};

/// An extended attribute in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrRef<'a> {
    /// First part of the name, such as `security.`.
    pub prefix: &'static [u8],
    /// The rest of the name; empty where the prefix is a whole name.
    pub suffix: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

impl XattrRef<'_> {
    /// Whether the parts make up `name`.
    #[must_use]
    pub fn has_name(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix) == Some(self.suffix)
    }

    /// A copy of its own.
    #[must_use]
    pub fn to_xattr(&self) -> Xattr {
        Xattr { name: [self.prefix, self.suffix].concat(), value: self.value.to_vec() }
    }
}

/// Iterator over the extended attributes of an inode, from [`Image::xattrs`](super::Image::xattrs). Ends at its
/// first error.
#[derive(Clone)]
pub struct Xattrs<'a> {
    view: View<'a>,
    inode: Inode,
    xattr_base: u64,
    state: State<'a>,
}

#[derive(Clone)]
enum State<'a> {
    /// Nothing was looked at.
    Start,
    /// Bytes left behind the inode, ids left of shared ones.
    Entries(&'a [u8], &'a [U32]),
}

impl<'a> Xattrs<'a> {
    pub(super) fn new(view: View<'a>, geometry: &Geometry, inode: &Inode) -> Self {
        let state = if inode.xattr_len == 0 { State::Entries(&[], &[]) } else { State::Start };
        Self { view, inode: *inode, xattr_base: geometry.xattr_base, state }
    }

    /// The next entry, and nothing behind the last one. Each takes from what is left.
    fn advance(&mut self) -> Result<Option<Entry<'a>>, Senseless> {
        if let State::Start = self.state {
            let body = self.view.slice(self.inode.xattrs, self.inode.xattr_len).ok_or(Senseless)?;
            let (header, rest) = XattrHeader::ref_from_prefix(body).map_err(|_| Senseless)?;
            let ids = usize::from(header.shared_count);
            let (ids, inline) = <[U32]>::ref_from_prefix_with_elems(rest, ids).map_err(|_| Senseless)?;
            self.state = State::Entries(inline, ids);
        }
        let State::Entries(inline, ids) = &mut self.state else { return Ok(None) };
        if !inline.is_empty() {
            let entry = Entry::parse(inline).ok_or(Senseless)?;
            *inline = inline.get(entry.len()..).ok_or(Senseless)?;
            return Ok(Some(entry));
        }
        let Some((id, rest)) = ids.split_first() else { return Ok(None) };
        *ids = rest;
        let at = self.xattr_base.checked_add(u64::from(id.get()) * XATTR_ALIGN as u64);
        let bytes = at.and_then(|at| self.view.0.get(usize::try_from(at).ok()?..)).ok_or(Senseless)?;
        Entry::parse(bytes).map(Some).ok_or(Senseless)
    }
}

/// Xattrs that leave the place where they are.
struct Senseless;

/// An entry, with a known prefix or not.
struct Entry<'a> {
    index: u8,
    suffix: &'a [u8],
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (entry, rest) = XattrEntry::ref_from_prefix(bytes).ok()?;
        let name_len = usize::from(entry.name_len);
        let suffix = rest.get(..name_len)?;
        let value = rest.get(name_len..name_len + usize::from(entry.value_len.get()))?;
        Some(Self { index: entry.name_index, suffix, value })
    }

    /// Bytes with padding.
    fn len(&self) -> usize {
        (size_of::<XattrEntry>() + self.suffix.len() + self.value.len()).next_multiple_of(XATTR_ALIGN)
    }
}

impl<'a> Iterator for Xattrs<'a> {
    type Item = Result<XattrRef<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Ok(entry) = self.advance() else {
                self.state = State::Entries(&[], &[]);
                return Some(Err(self.inode.corrupt("has xattrs that make no sense")));
            };
            let Entry { index, suffix, value } = entry?;
            // Like the kernel: what cannot be named is not shown.
            if let Some(prefix) = prefix_of_index(index) {
                return Some(Ok(XattrRef { prefix, suffix, value }));
            }
        }
    }
}

impl std::fmt::Debug for Xattrs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Xattrs({})", self.inode.nid)
    }
}
