//! Node ids that need no memory.
//!
//! A node id says by itself what it means: `slot << 29 | nid` for an inode of a slot's tree image, nid 0 for
//! the slot's data file, 1 for the FUSE root. So there is no table of live nodes, FORGET has nothing to do, and
//! a successor process answers for ids that its predecessor gave out. The id is also st_ino; below 2^53 it
//! survives overlayfs' xino and languages whose integers are doubles.
//!
//! Slots are never used twice while a connection lives, hence the generation of every node is 0 and an id whose
//! slot is gone is ESTALE for good. Slot 0 cannot be shown: its ids would collide with the root's.

use peel_layer::serve::Slot;

/// Bits for the place in the tree image: with 32 bytes an inode slot, trees of 16 GiB of metadata.
const NID_BITS: u32 = 29;

/// Bits for the slot; together 53.
const SLOT_BITS: u32 = 24;

/// What the kernel calls an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

/// What a [`NodeId`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The directory of all slots.
    Root,
    /// The data file of a slot.
    Data(Slot),
    /// An inode of a slot's tree.
    Inode {
        /// The tree.
        slot: Slot,
        /// The inode's place in its image, in units of 32 bytes.
        nid: u64,
    },
}

impl NodeId {
    /// The FUSE root, as the protocol has it.
    pub const ROOT: Self = Self(1);

    /// The largest slot that has node ids.
    pub const MAX_SLOT: Slot = Slot((1 << SLOT_BITS) - 1);

    /// The id of an inode, or nothing where `slot` or `nid` have none: slot 0, slots from 2^24, nid 0 and nids
    /// from 2^29.
    #[must_use]
    pub fn of_inode(slot: Slot, nid: u64) -> Option<Self> {
        let fits = Self::has_ids(slot) && nid != 0 && nid < 1 << NID_BITS;
        fits.then(|| Self(u64::from(slot.0) << NID_BITS | nid))
    }

    /// The id of a slot's data file, or nothing for a slot that has no ids.
    #[must_use]
    pub fn of_data(slot: Slot) -> Option<Self> {
        Self::has_ids(slot).then(|| Self(u64::from(slot.0) << NID_BITS))
    }

    /// What the id stands for, or nothing for a number that was never given out.
    #[must_use]
    pub fn node(self) -> Option<Node> {
        if self == Self::ROOT {
            return Some(Node::Root);
        }
        let slot = Slot(u32::try_from(self.0 >> NID_BITS).ok()?);
        let nid = self.0 & ((1 << NID_BITS) - 1);
        match Self::has_ids(slot) {
            false => None,
            true if nid == 0 => Some(Node::Data(slot)),
            true => Some(Node::Inode { slot, nid }),
        }
    }

    /// As the kernel has it.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    fn has_ids(slot: Slot) -> bool {
        slot.0 != 0 && slot <= Self::MAX_SLOT
    }
}

impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests;
