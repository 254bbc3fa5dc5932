//! Xattrs of one node: checked, measured, encoded. All entries are inline: what a layer repeats
//! (`trusted.overlay.opaque`) is hardly longer than the reference to a shared entry.

use std::collections::BTreeSet;

use zerocopy::{FromZeros, IntoBytes, little_endian::U16};

use super::NodeProblem;
use crate::{
    Xattr,
    format::{XATTR_ALIGN, XATTR_BODY_MAX, XATTR_VALUE_MAX, XattrEntry, XattrHeader, split_name},
};

/// Bytes that `xattrs` take behind an inode, header included; 0 for none.
pub(super) fn body_len(xattrs: &[Xattr]) -> Result<u64, NodeProblem> {
    if xattrs.is_empty() {
        return Ok(0);
    }
    let mut seen = BTreeSet::new();
    let mut total = size_of::<XattrHeader>();
    for xattr in xattrs {
        let lossy = || String::from_utf8_lossy(&xattr.name).into_owned();
        let (_, suffix) = split_name(&xattr.name).ok_or_else(|| NodeProblem::XattrName(lossy()))?;
        if xattr.value.len() > XATTR_VALUE_MAX {
            return Err(NodeProblem::XattrValue { name: lossy(), length: xattr.value.len() });
        }
        if !seen.insert(&xattr.name) {
            return Err(NodeProblem::XattrTwice(lossy()));
        }
        total += (size_of::<XattrEntry>() + suffix.len() + xattr.value.len()).next_multiple_of(XATTR_ALIGN);
    }
    let total = total as u64;
    if total > XATTR_BODY_MAX { Err(NodeProblem::XattrsTooLong(total)) } else { Ok(total) }
}

/// The inode's `xattr_icount` for a body of that many bytes.
pub(super) fn icount(body_len: u64) -> u16 {
    match body_len.checked_sub(size_of::<XattrHeader>() as u64) {
        // Within 16 bits: `body_len` above saw to that.
        Some(entries) => u16::try_from(1 + entries / XATTR_ALIGN as u64).unwrap_or(u16::MAX),
        None => 0,
    }
}

/// Appends header and entries of `xattrs`, which [`body_len`] accepted.
pub(super) fn encode(xattrs: &[Xattr], out: &mut Vec<u8>) {
    if xattrs.is_empty() {
        return;
    }
    out.extend_from_slice(XattrHeader::new_zeroed().as_bytes());
    for xattr in xattrs {
        let Some((name_index, suffix)) = split_name(&xattr.name) else { continue };
        let (Ok(name_len), Ok(value_len)) = (u8::try_from(suffix.len()), u16::try_from(xattr.value.len()))
        else {
            continue;
        };
        let entry = XattrEntry { name_len, name_index, value_len: U16::new(value_len) };
        out.extend_from_slice(entry.as_bytes());
        out.extend_from_slice(suffix);
        out.extend_from_slice(&xattr.value);
        let padding = (suffix.len() + xattr.value.len()).wrapping_neg() % XATTR_ALIGN;
        out.extend_from_slice(&[0; XATTR_ALIGN][..padding]);
    }
}
