//! What threads meet at in [`crate::pins`], [`crate::map`] and [`crate::store`].
//!
//! Those name it as their parent's `sync`: here it is the real thing, in [`crate::model`] a model checker's.

use std::time::Duration;

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

pub(crate) use parking_lot::{Mutex, RwLock};

/// Something follows that takes long. Only the model checker has to be told that others may come in between.
pub(crate) fn slow() {}

/// Lets others go on, for about `time`.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
