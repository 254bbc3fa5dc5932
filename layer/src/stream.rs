//! Layers that nobody indexed: read once from end to end, and indexed on the way.
//!
//! ```text
//! blob ──▶ Decompressor ──▶ tar ──▶ TarIndexer ──▶ file bytes ──▶ DataSink
//!               │ Units                  │ TarIndexed
//!               └────────▶ write_index ◀─┘ ──▶ tree image, chunk table, seek index
//! ```
//!
//! Both halves are pushed: they take what bytes there are, keep their place, and do no I/O, so that whoever drives
//! them decides on threads, buffers and digests. (The digests of the blob and of the tar are the driver's: nothing
//! here may be published before they were compared with the image's manifest and config.) What they hold grows with
//! the number of files and checkpoints, within [`crate::Limits`], never with the bytes that pass.
//!
//! What is accepted is what containerd accepts: its detection of compression, Go's gzip and zstd readers, and Go's tar
//! reader below containerd's unpacking ([`crate::unpack`]). Differences are named where they are.

mod compression;
mod decompress;
mod error;
mod gzip;
mod tar;
mod units;
mod write;
mod zstd;

pub use compression::Compression;
pub use decompress::{Decompressor, Step};
pub use error::{StreamError, TarProblem};
pub use tar::{DataSink, TarIndexed, TarIndexer};
pub use units::Units;
pub use write::{IndexError, write_index};

/// Largest chunk of a streamed file: every MiB has a digest of its own, and what is shorter has the file's. A read of
/// evicted bytes decodes and checks one at least.
pub const CHUNK: u64 = 1 << 20;

#[cfg(test)]
mod tests;
