//! SOCI: an index beside an unmodified gzip or uncompressed layer (layer-formats.md, B).
//!
//! ```text
//! image manifest ─ annotation (v2) or referrer (v1) ─▶ SOCI index ─▶ one ztoc a layer ─▶ tree image, chunk table, seek index
//!                                                      manifest.rs    ztoc.rs            build.rs
//!                                                                      ├ flat     the flatbuffer, bounds-checked
//!                                                                      ├ spans    checkpoints
//!                                                                      └ entry    the TOC
//! ```
//!
//! The ztoc is trusted as far as its digest is vouched for, and is checked like any other input: a ztoc that was made by
//! hand must not cost more than a refusal.

mod build;
mod entry;
mod error;
mod flat;
mod manifest;
mod spans;
mod ztoc;

pub use build::build_index;
pub use error::{EntryProblem, IndexError, SpanProblem, ZtocError};
pub use manifest::{Binding, INDEX_DIGEST, SociIndex, SociIndexError, V1, V2, ZtocDescriptor};
