//! Layers in memory, some of them in trouble.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex},
};

use peel_layer::{
    DataOffset, StoreAttestation, VerifiedBytes,
    serve::{LayerSource, ReadError, ReadReply, Slot, TreeImage},
};

use crate::fixture::Layer;

/// What happens to a slot's reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// They wait until released.
    Hold,
    /// The source panics.
    Panic,
    /// The source panics when asked for the tree.
    PanicInTree,
    /// No registry has the bytes.
    Unavailable,
    /// A byte less than asked for comes.
    Short,
    /// Nobody ever answers, and the reply is thrown away.
    Forget,
    /// The process dies.
    Abort,
}

#[derive(Default)]
pub(crate) struct Layers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    layers: BTreeMap<Slot, Arc<Layer>>,
    trouble: BTreeMap<Slot, Trouble>,
    held: Vec<(Slot, Range<DataOffset>, ReadReply)>,
}

impl Layers {
    pub(crate) fn add(&self, slot: u32, layer: Layer) {
        self.state.lock().unwrap().layers.insert(Slot(slot), Arc::new(layer));
    }

    pub(crate) fn remove(&self, slot: u32) {
        self.state.lock().unwrap().layers.remove(&Slot(slot));
    }

    pub(crate) fn trouble(&self, slot: u32, trouble: Trouble) {
        self.state.lock().unwrap().trouble.insert(Slot(slot), trouble);
    }

    /// Reads that wait, by where they begin.
    pub(crate) fn held(&self) -> BTreeSet<u64> {
        self.state.lock().unwrap().held.iter().map(|(_, range, _)| range.start.0).collect()
    }

    /// How many reads wait.
    pub(crate) fn held_count(&self) -> usize {
        self.state.lock().unwrap().held.len()
    }

    /// Ends all trouble and answers what waits.
    pub(crate) fn release(&self) {
        let held = {
            let mut state = self.state.lock().unwrap();
            state.trouble.clear();
            std::mem::take(&mut state.held)
        };
        for (slot, range, reply) in held {
            self.read(slot, range, reply);
        }
    }
}

impl LayerSource for Layers {
    fn tree(&self, slot: Slot) -> Option<TreeImage> {
        let state = self.state.lock().unwrap();
        let layer = state.layers.get(&slot).cloned();
        let panics = state.trouble.get(&slot) == Some(&Trouble::PanicInTree);
        drop(state);
        assert!(!panics, "as told");
        layer.map(|layer| TreeImage::new(layer.image.clone()))
    }

    fn data_size(&self, slot: Slot) -> Result<DataOffset, ReadError> {
        let layer = self.state.lock().unwrap().layers.get(&slot).cloned();
        layer.map(|layer| DataOffset(layer.data.len() as u64)).ok_or(ReadError::Gone)
    }

    fn slots(&self) -> Vec<Slot> {
        self.state.lock().unwrap().layers.keys().copied().collect()
    }

    fn read(&self, slot: Slot, range: Range<DataOffset>, reply: ReadReply) {
        let mut state = self.state.lock().unwrap();
        match state.trouble.get(&slot) {
            Some(Trouble::Hold) => return state.held.push((slot, range, reply)),
            Some(Trouble::Panic) => {
                drop(state);
                panic!("as told");
            }
            Some(Trouble::Unavailable) => return reply(Err(ReadError::Unavailable("as told".into()))),
            Some(Trouble::Forget) => return drop(reply),
            Some(Trouble::Abort) => std::process::abort(),
            Some(Trouble::Short) => return reply(Ok(VerifiedBytes::zeros(1))),
            Some(Trouble::PanicInTree) | None => {}
        }
        let layer = state.layers.get(&slot).cloned();
        drop(state);
        reply(layer.map(|layer| bytes(&layer.data, range)).ok_or(ReadError::Gone));
    }

    fn capacity(&self) -> (u64, u64) {
        (1 << 40, 1 << 39)
    }
}

fn bytes(data: &[u8], range: Range<DataOffset>) -> VerifiedBytes {
    let [start, end] = [range.start, range.end].map(|at| usize::try_from(at.0).unwrap());
    let mut bytes = data.get(start..end.min(data.len())).unwrap_or_default().to_vec();
    bytes.resize(end - start, 0);
    VerifiedBytes::from_store(bytes, StoreAttestation::only_verified_chunks_were_stored())
}
