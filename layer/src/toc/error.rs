//! Why a TOC does not become an index.

use crate::TocDigest;
use crate::data::LayoutError;
use crate::index::UnitError;
use crate::unpack::EntryError;

/// Why a layer has no index. Messages name the entry and the check; the caller adds the layer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The bytes handed over are not those that the footer points to.
    #[error("TOC has {found} bytes in the blob, expected {expected}")]
    Length {
        /// As the footer says.
        expected: u64,
        /// As handed over.
        found: u64,
    },
    /// What the TOC is compressed with.
    #[error("TOC cannot be decompressed: {0}")]
    Decode(#[from] UnitError),
    /// The tar around the JSON.
    #[error("TOC is not where it should be: {0}")]
    Tar(&'static str),
    /// More than `Limits::toc_json`.
    #[error("TOC has {size} bytes of JSON, more than {limit} are refused")]
    TooLarge {
        /// As its tar header, or the manifest's annotation, says.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// More than `Limits::entries`.
    #[error("TOC has more than {0} entries")]
    TooManyEntries(u64),
    /// The JSON is not what the image's manifest vouches for: somebody changed it, or the bytes were damaged.
    #[error("TOC has digest {found}, the image's manifest says {expected}")]
    Digest {
        /// From the manifest.
        expected: TocDigest,
        /// Of the bytes.
        found: TocDigest,
    },
    /// Not JSON, or not of a TOC's shape.
    #[error("TOC is not valid: {0}")]
    Json(String),
    /// One file.
    #[error("{name:?} at entry {number} of the TOC: {problem}")]
    Entry {
        /// Which entry showed it, from 1.
        number: u64,
        /// Name of the file, cut if it is long.
        name: String,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// Chunks of the whole layer.
    #[error("end of the TOC: {0}")]
    Layout(LayoutError),
    /// Paths of the whole layer.
    #[error("end of the TOC: {0}")]
    Unpack(EntryError),
    /// The tree image.
    #[error("tree image cannot be written: {0}")]
    Tree(#[from] peel_erofs::WriteError),
    /// The chunk table.
    #[error("chunk table cannot be written: {0}")]
    Table(std::io::Error),
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// As a file of the tree.
    #[error(transparent)]
    Unpack(#[from] EntryError),
    /// As data.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A field's value.
    #[error("{field} is {value}, which is not possible")]
    Value {
        /// Name of the field in JSON.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// Not a type of TOC entries.
    #[error("type {0:?} is not known")]
    Type(String),
    /// Predecessors of eStargz had none.
    #[error("a chunk without digest cannot be verified")]
    NoDigest,
    /// Not sha256.
    #[error("{0}")]
    Digest(#[from] crate::digest::DigestError),
}
