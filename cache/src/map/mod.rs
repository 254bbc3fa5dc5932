//! Which chunks of the data file are there.
//!
//! Two files of the same layout, both a header and one bit a chunk. The *live map* is written in place, a word
//! at a time, after the chunk's bytes: page cache survives a process, so it is true after `kill -9`. The
//! *durable map* is a copy taken before the data file was synced, replaced by rename: true after a machine
//! crash, when the boot id in the live map is another one.
//!
//! The live map is written with pwrite and kept as [`AtomicBits`] in memory, not mapped shared: a store to a
//! mapping may raise SIGBUS (a full disk under a copy-on-write filesystem, an administrator's `truncate`) and
//! end the daemon, and all maps of a million files are 125 KB.

mod bits;
mod format;
mod learned;
mod live;

pub(crate) use bits::AtomicBits;
pub(crate) use format::{Identity, decode_durable, encode_durable};
pub(crate) use learned::LearnedDigests;
pub(crate) use live::LiveMap;

use super::sync;
