//! eStargz: gzip members, and a table of contents (TOC) at the end of the blob (layer-formats.md, A).
//!
//! ```text
//! blob := member* toc-member footer
//! ```
//!
//! 1. Fetch the last [`FOOTER_MAX`] bytes of the blob; [`footer`] says where the TOC is.
//! 2. Fetch [`TocLocation::range`]; [`build_index`] makes the tree image and the chunk table of it.

mod footer;
pub(crate) mod member;

use crate::index::{Format, IndexFiles, IndexKey};
use crate::limits::Limits;
use crate::toc::{self, Origin};
use crate::{LayerDigest, TocDigest, inflate};

pub use crate::toc::{BuiltIndex, EntryProblem, IndexError, Summary};
pub use footer::{FOOTER_MAX, FooterError, TocLocation, footer};

/// Makes the index of an eStargz layer. `toc_member` are the bytes of the blob at `location`.
///
/// Nothing is written before the TOC is known to have the digest `expected`, which the image's manifest has in
/// annotation `containerd.io/snapshot/stargz/toc.digest`.
///
/// # Errors
/// [`IndexError`]; what was written is of no use then. [`IndexError::Digest`] and [`IndexError::Decode`] may be the
/// fault of whoever sent the bytes, the others are the image's.
pub fn build_index(
    layer: LayerDigest,
    location: &TocLocation,
    toc_member: &[u8],
    expected: TocDigest,
    limits: &Limits,
    files: &mut IndexFiles<'_>,
) -> Result<BuiltIndex, IndexError> {
    let range = location.range();
    toc::check_length(&range, toc_member)?;
    let text = member::open(toc_member, limits)?;
    let origin = Origin {
        key: IndexKey { layer, described_by: expected },
        format: Format::EStargz,
        content_end: range.start,
        expansion: inflate::EXPANSION_MAX,
        blob_size: location.blob_size(),
    };
    toc::build(text, Some(expected), &origin, limits, files)
}
