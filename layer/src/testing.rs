//! Layers made for tests, honest and hostile: behind the cargo feature `testing`, never in the daemon.
//!
//! [`EStargzWriter`] makes a blob as a real writer would (a valid tar in gzip members, TOC, footer); what it makes
//! can be unpacked by containerd and compared. Its knobs make layers that no real writer makes. [`ZstdChunkedWriter`]
//! does the same for zstd:chunked.

#![expect(clippy::missing_panics_doc, reason = "for tests, which may panic")]
#![expect(clippy::unwrap_used, reason = "for tests, which may panic")]

mod decode;
mod estargz;
mod files;
pub mod fuzz;
mod soci;
mod stream;
mod tar;
mod zstd_chunked;
pub mod ztoc;

pub use decode::{decode_chunk, decode_span};
pub use estargz::{EStargz, EStargzWriter, Footer, Indexed};
pub use files::IndexBytes;
pub use soci::SociLayer;
pub use stream::{Streamed, gzip, stream, stream_whole};
pub use tar::{File, TarEntry, seal, tar};
pub use zstd_chunked::{ZstdChunked, ZstdChunkedWriter, ZstdVariant};
