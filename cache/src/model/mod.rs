//! Fill, read, evict, sync and remove under a model checker.
//!
//! The files of [`crate::pins`], [`crate::map`] and [`crate::store`] are compiled a second time here, over the locks and
//! atomics of shuttle: it runs one thread at a time, and chooses at each of them, at random, who goes on. So what is
//! checked is the code that ships, and a failure is found again by its seed. The files are real, in memory; between two
//! locks nobody else runs, so to look at them there is to look at what a crash would leave.
//!
//! shuttle and not loom: a pin needs sequential consistency (a reader adds himself and then looks at the bit, an eviction
//! clears the bit and then looks at the readers), which loom does not have for atomics, and here is all that is used.
//! The rest of the crate has no subtle locking: one lock, held from look to change.

#![expect(clippy::duplicate_mod, reason = "this is what it is for")]
#![expect(dead_code, unreachable_pub, reason = "not everything of the modules is needed here")]

#[path = "../map/mod.rs"]
mod map;
#[path = "../pins.rs"]
mod pins;
#[path = "../store/mod.rs"]
mod store;
mod sync;

mod threads;
