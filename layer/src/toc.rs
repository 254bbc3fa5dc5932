//! Tables of contents: the JSON that eStargz and zstd:chunked share, entry by entry into a tree image and a chunk
//! table (layer-formats.md, A.2 and A.4).
//!
//! The formats differ in where the JSON is, in what it is compressed with, and in which digest of it the manifest
//! names: that is in [`crate::estargz`] and [`crate::zstd_chunked`]. The TOC is trusted as far as the manifest vouches
//! for that digest, which means: it is what the image's author wrote. So it is checked like any other input.

mod build;
mod entry;
mod error;
mod json;
mod text;

pub use build::{BuiltIndex, Summary};
pub(crate) use build::{Origin, build, check_length};
pub use error::{EntryProblem, IndexError};
pub(crate) use text::Text;
