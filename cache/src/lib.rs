//! What this node has of its layers: index files for ever, chunks as long as there is room.
//!
//! ```text
//! <index_dir>/<key>/tree.erofs                 tree image, mapped; its sha256 is in the chunk table
//!                   chunks                     chunk table, mapped (layer::LayerIndex)
//!                   seek                       seek index, mapped; only where the format needs one
//!                   tree-<16 hex>.erofs        derived tree of a snapshot whose implied directories differ
//! <cache_dir>/<key>/data                       sparse, laid out by the index: chunks at their data offsets
//!                   map                        live map: one bit a chunk, true after a process crash
//!                   map.durable                what was on the disk at the last sync: true after a machine crash
//!                   epochs                     when its parts were last used
//! ```
//!
//! The two directories live apart because they promise different things. An index is published whole, synced
//! and renamed into place ([`Cache::publish`]); a layer is readable offline because of it. The cache directory
//! may be deleted at any time, also while containers run: a read of an open layer goes on from the unlinked
//! file, the next admitted chunk makes new files, and what is gone is fetched again.
//!
//! Bytes enter only as [`peel_layer::VerifiedChunk`] and leave as [`peel_layer::VerifiedBytes`], read with
//! pread into anonymous memory. A failing disk is never the reader's problem: a chunk that cannot be stored is
//! served from memory ([`Admission`]), one that cannot be read back is missing ([`Read::Missing`]).
//!
//! The formats are described in `docs/cache-on-disk.md`.

mod adopt;
mod cache;
mod config;
mod content;
mod disk;
mod error;
mod fsck;
mod gc;
mod groups;
mod holes;
mod layer;
mod map;
#[cfg(test)]
mod model;
mod open_layers;
mod pins;
mod publish;
mod read;
mod staging;
mod stats;
mod store;
mod summary;
mod sync;
mod sys;
mod tree;

#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use config::{BootId, Config};
pub use error::{CacheError, PublishError};
pub use fsck::{Checked, Damage, Finding, Tell};
pub use gc::{Cause, DiskUsage, Evicted, LayerUsers, Limits, Manual, Round, State as GcState, Urgency, Use};
pub use layer::Layer;
pub use read::Read;
pub use staging::{DataWriter, Staged, StagedBlob, StagedLayer};
pub use stats::{CacheStats, LayerStats};
pub use store::Admission;
pub use sys::MappedFile;
pub use tree::TreeId;
