//! Layers that stay open: a bounded list, most recently opened last.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::Layer;

/// Replaced as a whole, since it is searched for every chunk and changed for every mount.
#[derive(Debug)]
pub(crate) struct OpenLayers {
    layers: RwLock<Arc<Vec<Arc<Layer>>>>,
    capacity: usize,
}

impl OpenLayers {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { layers: RwLock::default(), capacity: capacity.max(1) }
    }

    /// All of them, as of now.
    pub(crate) fn all(&self) -> Arc<Vec<Arc<Layer>>> {
        Arc::clone(&self.layers.read())
    }

    /// How many stay open at most.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Keeps `layer` open, and lets go the one that was opened longest ago when there are too many.
    pub(crate) fn touch(&self, layer: &Arc<Layer>) {
        if self.layers.read().last().is_some_and(|last| Arc::ptr_eq(last, layer)) {
            return;
        }
        self.change(|list| {
            list.retain(|open| open.name() != layer.name());
            if list.len() >= self.capacity {
                list.remove(0);
            }
            list.push(Arc::clone(layer));
        });
    }

    /// Keeps `layer` open if there is room for one more, and lets it go before all others.
    pub(crate) fn offer(&self, layer: &Arc<Layer>) {
        let layers = self.all();
        if layers.len() >= self.capacity || layers.iter().any(|open| Arc::ptr_eq(open, layer)) {
            return;
        }
        self.change(|list| {
            if list.len() < self.capacity && list.iter().all(|open| open.name() != layer.name()) {
                list.insert(0, Arc::clone(layer));
            }
        });
    }

    /// Lets go of the layer called `name`.
    pub(crate) fn remove(&self, name: &str) {
        self.change(|list| list.retain(|open| open.name() != name));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Layer>>)) {
        let before = {
            let mut layers = self.layers.write();
            let mut list = Vec::clone(&layers);
            change(&mut list);
            std::mem::replace(&mut *layers, Arc::new(list))
        };
        // Closing a layer counts its chunks: nobody who searches waits for that.
        drop(before);
    }
}
