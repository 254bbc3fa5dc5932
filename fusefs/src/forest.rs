//! All slots under one root.
//!
//! The root is the only directory that changes: slots come and go. So the kernel keeps its attributes for a second
//! only, and sees another mtime each time, which ends its copy of the listing; that a slot is missing it never
//! remembers. A slot's name stays good until somebody meets ESTALE behind it. All that lies in a tree is kept for
//! ever.

use std::{ops::Range, sync::Arc, time::Duration};

use fuser::{FileAttr, FileType};
use peel_layer::{
    DataOffset,
    serve::{LayerSource, ReadReply, Slot},
};

use crate::{
    NodeId, attributes,
    failure::Failure,
    node::Node,
    tree::{Extent, Tree},
};

/// For ever, as far as the kernel can count it.
pub(crate) const ENDLESS: Duration = Duration::from_secs(u32::MAX as u64);

/// How long the kernel keeps the root's attributes: a path that leads through the root needs them at each step,
/// and a listing may be that old.
const ROOT_FOR: Duration = Duration::from_secs(1);

/// Attributes, and how long the kernel may keep them and the name that led to them.
pub(crate) struct Found {
    pub(crate) attributes: FileAttr,
    pub(crate) attributes_for: Duration,
    pub(crate) name_for: Duration,
}

/// What a listing says of each name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Number and kind.
    Names,
    /// All attributes.
    Attributes,
}

/// One name in a directory.
pub(crate) struct Entry<'a> {
    /// As much as was asked for; number and kind always.
    pub(crate) attributes: FileAttr,
    pub(crate) name: &'a [u8],
    /// Cookie: where a listing goes on after this entry.
    pub(crate) next: u64,
}

/// Takes entries until it has enough; then says false, and the entry at hand counts as not taken.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&Entry<'_>) -> bool;

/// The trees of all slots.
pub(crate) struct Forest {
    source: Arc<dyn LayerSource>,
}

impl Forest {
    pub(crate) fn new(source: Arc<dyn LayerSource>) -> Self {
        Self { source }
    }

    /// The attributes of a node.
    pub(crate) fn attributes(&self, id: NodeId) -> Result<Found, Failure> {
        match id.node().ok_or(Failure::Stale)? {
            Node::Root => {
                Ok(Found { attributes: attributes::of_root(), attributes_for: ROOT_FOR, name_for: ROOT_FOR })
            }
            Node::Data(slot) => Ok(Found::endless(self.tree(slot)?.data_attributes()?)),
            Node::Inode { slot, nid } => {
                let tree = self.tree(slot)?;
                Ok(Found::endless(tree.attributes(&tree.inode(nid)?)?))
            }
        }
    }

    /// What `name` in a directory leads to. A name that a tree does not have is found too: as node 0, for ever.
    pub(crate) fn lookup(&self, parent: NodeId, name: &[u8]) -> Result<Found, Failure> {
        match parent.node().ok_or(Failure::Stale)? {
            Node::Root => self.lookup_slot(name),
            Node::Data(_) => Err(Failure::WrongKind),
            Node::Inode { slot, nid } => {
                let tree = self.tree(slot)?;
                let found = tree.lookup(&tree.inode(nid)?, name)?;
                Ok(Found::endless(found.unwrap_or_else(attributes::of_nothing)))
            }
        }
    }

    fn lookup_slot(&self, name: &[u8]) -> Result<Found, Failure> {
        let (slot, is_data) = parse_name(name).ok_or(Failure::NoSuchSlot)?;
        let attributes = self.tree(slot).and_then(|tree| match is_data {
            true => tree.data_attributes(),
            false => tree.attributes(&tree.root()?),
        });
        match attributes {
            Ok(attributes) => Ok(Found::endless(attributes)),
            Err(Failure::Stale) => Err(Failure::NoSuchSlot),
            Err(other) => Err(other),
        }
    }

    /// Hands the entries of a directory from the cookie `from` on to `take`.
    pub(crate) fn list(&self, id: NodeId, from: u64, detail: Detail, take: Take<'_>) -> Result<(), Failure> {
        match id.node().ok_or(Failure::Stale)? {
            Node::Root => self.list_slots(from, detail, take),
            Node::Data(_) => Err(Failure::WrongKind),
            Node::Inode { slot, nid } => {
                let tree = self.tree(slot)?;
                tree.list(&tree.inode(nid)?, from, detail, take)
            }
        }
    }

    /// Cookies are 1 after `.`, 2 after `..`, and slot + 2 after a slot: a slot that comes or goes while a listing
    /// is under way moves no other. Data files are not listed.
    fn list_slots(&self, from: u64, detail: Detail, take: Take<'_>) -> Result<(), Failure> {
        for (next, name) in [(1, b".".as_slice()), (2, b"..")] {
            let attributes = attributes::bare(NodeId::ROOT, FileType::Directory);
            if next > from && !take(&Entry { attributes, name, next }) {
                return Ok(());
            }
        }
        let mut slots = self.source.slots();
        slots.sort_unstable();
        for slot in slots {
            let next = u64::from(slot.0) + 2;
            if next <= from {
                continue;
            }
            // One that cannot be opened is its own trouble, and one that went away since is no longer there.
            let Ok(attributes) = self.tree(slot).and_then(|tree| match detail {
                Detail::Names => Ok(attributes::bare(tree.root_id()?, FileType::Directory)),
                Detail::Attributes => tree.attributes(&tree.root()?),
            }) else {
                continue;
            };
            if !take(&Entry { attributes, name: slot.to_string().as_bytes(), next }) {
                break;
            }
        }
        Ok(())
    }

    /// Where a symbolic link leads.
    pub(crate) fn target(&self, id: NodeId) -> Result<Vec<u8>, Failure> {
        self.in_tree(id, |tree, nid| tree.target(&tree.inode(nid)?))?.ok_or(Failure::WrongKind)
    }

    /// The value of an xattr.
    pub(crate) fn xattr(&self, id: NodeId, name: &[u8]) -> Result<Vec<u8>, Failure> {
        self.in_tree(id, |tree, nid| tree.xattr(&tree.inode(nid)?, name))?.flatten().ok_or(Failure::NoXattr)
    }

    /// The names of all xattrs, as `listxattr(2)` has them: each ended by a zero.
    pub(crate) fn xattr_names(&self, id: NodeId) -> Result<Vec<u8>, Failure> {
        Ok(self.in_tree(id, |tree, nid| tree.xattr_names(&tree.inode(nid)?))?.unwrap_or_default())
    }

    /// Where the bytes that a READ asks for lie.
    pub(crate) fn extent(&self, id: NodeId, offset: u64, size: u32) -> Result<(Slot, Extent), Failure> {
        match id.node().ok_or(Failure::Stale)? {
            Node::Root => Err(Failure::WrongKind),
            // Without the tree: of all requests this is the one that the kernel's EROFS sends, and its readers wait.
            Node::Data(slot) => Ok((slot, Extent::of_data(self.source.data_size(slot)?, offset, size))),
            Node::Inode { slot, nid } => {
                let tree = self.tree(slot)?;
                Ok((slot, tree.extent(&tree.inode(nid)?, offset, size)?))
            }
        }
    }

    /// Asks for bytes; the answer may come from another thread.
    pub(crate) fn read(&self, slot: Slot, range: Range<DataOffset>, reply: ReadReply) {
        self.source.read(slot, range, reply);
    }

    /// Capacity and free space in bytes.
    pub(crate) fn capacity(&self) -> (u64, u64) {
        self.source.capacity()
    }

    /// Runs `ask` on an inode of a tree; the root and data files have neither xattrs nor targets.
    fn in_tree<T>(
        &self,
        id: NodeId,
        ask: impl FnOnce(&Tree, u64) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        match id.node().ok_or(Failure::Stale)? {
            Node::Root | Node::Data(_) => Ok(None),
            Node::Inode { slot, nid } => ask(&self.tree(slot)?, nid).map(Some),
        }
    }

    fn tree(&self, slot: Slot) -> Result<Tree, Failure> {
        Tree::open(slot, self.source.tree(slot).ok_or(Failure::Stale)?)
    }
}

impl Found {
    fn endless(attributes: FileAttr) -> Self {
        Self { attributes, attributes_for: ENDLESS, name_for: ENDLESS }
    }
}

/// `<slot>` is a tree, `<slot>.data` its data file; decimal, without leading zeros or signs.
fn parse_name(name: &[u8]) -> Option<(Slot, bool)> {
    let (digits, is_data) = match name.strip_suffix(b".data") {
        Some(digits) => (digits, true),
        None => (name, false),
    };
    let number: u32 = str::from_utf8(digits).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == digits).then_some((Slot(number), is_data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_root() {
        assert_eq!(parse_name(b"7"), Some((Slot(7), false)));
        assert_eq!(parse_name(b"4294967295.data"), Some((Slot(u32::MAX), true)));
        for wrong in
            ["", "07", "+7", "-7", " 7", "7 ", "7.", "x", "4294967296", ".data", "7.data.data", "7.Data"]
        {
            assert_eq!(parse_name(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
