//! What goes first. Pure.

use super::Use;

/// Neighbouring chunks of one layer: the unit of recency and of eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// Who needs the layer.
    pub(super) used: Use,
    /// When something of the group was last read or stored.
    pub(super) epoch: u32,
    /// Number of the layer, in the caller's list.
    pub(super) layer: usize,
    /// Number of the group in the layer.
    pub(super) number: u32,
    /// Blocks of its present chunks, in bytes.
    pub(super) bytes: u64,
}

/// Sorts: unreferenced layers, then least recently used, running containers' last. Neighbours of one age stay together.
pub(super) fn sort(groups: &mut [Group]) {
    groups.sort_unstable_by_key(|group| (group.used, group.epoch, group.layer, group.number));
}

/// Takes groups off the front of `sorted` until they have `goal` bytes. One that would take more than `limit` in all
/// is passed over for good.
pub(super) fn take(sorted: &mut impl Iterator<Item = Group>, goal: u64, limit: u64) -> Vec<Group> {
    let (mut taken, mut bytes) = (Vec::new(), 0_u64);
    while bytes < goal {
        let Some(group) = sorted.next() else { break };
        if bytes.saturating_add(group.bytes) <= limit {
            bytes += group.bytes;
            taken.push(group);
        }
    }
    taken
}
