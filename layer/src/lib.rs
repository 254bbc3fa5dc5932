//! Every layer format becomes one [`LayerIndex`]: a tree image (EROFS) and a chunk table.
//!
//! Nothing here does I/O: parsers take bytes or readers, and give back types that carry meaning. Digests of
//! different things are different types ([`digest`]), an offset in the compressed blob cannot be used in the
//! data file ([`offset`]), and bytes that were not checked cannot enter the cache or a reply ([`verified`]).

mod data;
pub mod digest;
pub mod estargz;
pub mod failpoint;
pub mod frames;
pub mod implied;
pub mod index;
pub mod inflate;
pub mod limits;
pub mod offset;
pub mod proof;
pub mod seek;
pub mod serve;
pub mod soci;
pub mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
pub mod toc;
pub mod unpack;
pub mod verified;
pub mod zstd_chunked;

pub use digest::{
    ChainId, ChunkDigest, DiffId, FileDigest, LayerDigest, ManifestDigest, SpanDigest, TocDigest,
};
pub use index::{
    Chunk, ChunkId, DecodeError, Format, IndexFiles, IndexKey, Landmark, LayerIndex, TableError, UnitError,
    UnitId,
};
pub use limits::Limits;
pub use offset::{BlobOffset, DataOffset};
pub use verified::{StoreAttestation, UnverifiedChunk, VerifiedBytes, VerifiedChunk};
