//! Slots: the numbers of the trees under the FUSE root.
//!
//! A slot shows one tree of one layer. Snapshots share it, so that images share the page cache of common layers,
//! with two exceptions that get slots of their own: a chain on which the directories that the layer only implies
//! look different (another tree image), and a second occurrence of the same tree in one chain, which overlayfs
//! would refuse with ELOOP.
//!
//! A slot is stored before anybody sees it, numbers rise, and none is used twice: the kernel and leaked mounts
//! keep node ids for as long as they like, and must get ESTALE, never another layer's file.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;
use peel_cache::TreeId;
use peel_layer::{IndexKey, serve::Slot};
use peel_proto::peel::metadata::v1 as stored;

use crate::metastore::{Metastore, MetastoreError, Table};

const SLOTS: Table<u32, stored::Slot> = Table::new("slots");
/// Sequence of slot numbers. 0 is no slot.
const SEQUENCE: &str = "slot";
const FIRST: u64 = 1;

/// What a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shown {
    /// The layer.
    pub key: IndexKey,
    /// Its tree, where it is not the layer's own.
    pub tree: Option<TreeId>,
    /// How often the same tree is below in the chain.
    pub occurrence: u32,
}

/// All slots; the durable ones are loaded at start.
#[derive(Debug)]
pub struct Slots {
    metastore: Arc<Metastore>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    shown: BTreeMap<Slot, Shown>,
    slots: HashMap<Shown, Slot>,
}

impl Slots {
    /// Loads what is stored.
    ///
    /// # Errors
    /// The metastore cannot be read.
    pub fn load(metastore: Arc<Metastore>) -> Result<Self, MetastoreError> {
        let mut known = Known::default();
        metastore.read(|tx| {
            tx.for_each(&SLOTS, |number, slot| {
                match decode(&slot) {
                    Some(shown) => known.insert(Slot(number), shown),
                    None => tracing::warn!(slot = number, "slot of an unreadable record is left out"),
                }
                Ok(())
            })
        })?;
        Ok(Self { metastore, known: RwLock::new(known) })
    }

    /// What a slot shows; nothing if it is not in use.
    #[must_use]
    pub fn shown(&self, slot: Slot) -> Option<Shown> {
        self.known.read().shown.get(&slot).copied()
    }

    /// All slots in use, rising.
    #[must_use]
    pub fn all(&self) -> Vec<(Slot, Shown)> {
        self.known.read().shown.iter().map(|(slot, shown)| (*slot, *shown)).collect()
    }

    /// The slot that shows `shown`: the one that does already, else a new one, stored when this returns.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// The metastore cannot be written, or all numbers are used up.
    pub fn assign(&self, shown: Shown) -> Result<Slot, MetastoreError> {
        if let Some(slot) = self.known.read().slots.get(&shown) {
            return Ok(*slot);
        }
        // Held over the write: two chains that need the same slot get one.
        let mut known = self.known.write();
        if let Some(slot) = known.slots.get(&shown) {
            return Ok(*slot);
        }
        let slot = self.metastore.write(|tx| {
            let number = tx.next_number(SEQUENCE, FIRST)?;
            let slot = u32::try_from(number)
                .ok()
                .filter(|slot| *slot <= peel_fusefs::NodeId::MAX_SLOT.0)
                .ok_or_else(|| MetastoreError::Record {
                    table: "slots",
                    key: number.to_string(),
                    cause: "no numbers left".into(),
                })?;
            tx.put(&SLOTS, slot, &encode(&shown))?;
            Ok::<_, MetastoreError>(Slot(slot))
        })?;
        peel_layer::failpoint::reach(|| "slot: stored");
        known.insert(slot, shown);
        Ok(slot)
    }

    /// Gives up a slot: its nodes are stale from now on.
    ///
    /// # Errors
    /// The metastore cannot be written; the slot stays.
    pub fn release(&self, slot: Slot) -> Result<(), MetastoreError> {
        self.metastore.write(|tx| tx.delete(&SLOTS, slot.0))?;
        peel_layer::failpoint::reach(|| "slot: deleted");
        let mut known = self.known.write();
        if let Some(shown) = known.shown.remove(&slot) {
            known.slots.remove(&shown);
        }
        Ok(())
    }
}

impl Known {
    fn insert(&mut self, slot: Slot, shown: Shown) {
        self.shown.insert(slot, shown);
        self.slots.insert(shown, slot);
    }
}

fn encode(shown: &Shown) -> stored::Slot {
    stored::Slot {
        layer_digest: shown.key.layer.to_string(),
        toc_digest: shown.key.described_by.to_string(),
        tree: shown.tree.map(|tree| tree.as_bytes().to_vec()),
        occurrence: shown.occurrence,
    }
}

fn decode(slot: &stored::Slot) -> Option<Shown> {
    let tree = match &slot.tree {
        Some(tree) => Some(TreeId::from_bytes(tree.as_slice().try_into().ok()?)),
        None => None,
    };
    let key =
        IndexKey { layer: slot.layer_digest.parse().ok()?, described_by: slot.toc_digest.parse().ok()? };
    Some(Shown { key, tree, occurrence: slot.occurrence })
}

#[cfg(test)]
mod tests {
    use peel_layer::{LayerDigest, TocDigest};

    use super::*;

    fn shown(name: &str, tree: Option<[u8; 32]>, occurrence: u32) -> Shown {
        let key = IndexKey { layer: LayerDigest::of(name.as_bytes()), described_by: TocDigest::of(b"toc") };
        Shown { key, tree: tree.map(TreeId::from_bytes), occurrence }
    }

    #[test]
    fn shared_durable_and_never_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metadata.redb");
        let metastore = Arc::new(Metastore::open(&path).unwrap());
        let slots = Slots::load(Arc::clone(&metastore)).unwrap();
        let all =
            [shown("a", None, 0), shown("a", None, 1), shown("a", Some([7; 32]), 0), shown("b", None, 0)];
        let numbers = all.map(|shown| slots.assign(shown).unwrap());
        assert_eq!(numbers, [1, 2, 3, 4].map(Slot));
        assert_eq!(slots.assign(all[2]).unwrap(), Slot(3));
        slots.release(Slot(4)).unwrap();
        assert_eq!(slots.shown(Slot(4)), None);
        drop((slots, metastore));

        let slots = Slots::load(Arc::new(Metastore::open(&path).unwrap())).unwrap();
        assert_eq!(slots.all().len(), 3);
        assert_eq!(slots.shown(Slot(3)), Some(all[2]));
        assert_eq!(slots.assign(all[3]).unwrap(), Slot(5));
    }
}
