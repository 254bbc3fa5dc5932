//! zstd:chunked: zstd frames, and a TOC in a skippable frame at the end of the blob (layer-formats.md, A.4).
//!
//! ```text
//! blob := frame* skippable(zstd(TOC JSON)) [skippable(tar-split)] skippable(footer)
//! ```
//!
//! Three writers made what is in registries, and they differ in what leads to the TOC and in what vouches for it:
//!
//! | writer | where the TOC is | digest in the manifest |
//! |---|---|---|
//! | stargz | [`footer`], 40 bytes; also the annotation of 2022 | of the JSON (`containerd.io/snapshot/stargz/toc.digest`) |
//! | containers/storage, 2021 to 2022 | [`position`], annotation `io.containers.zstd-chunked.manifest-position` | of the compressed TOC (`….manifest-checksum`) |
//! | containers/storage, since | the same, `io.github.containers.zstd-chunked.…` | the same |
//!
//! The last two's own readers never look at the footer, and neither need we: the annotation saves a request.

mod location;

use sha2::{Digest as _, Sha256};

use crate::index::{Format, IndexFiles, IndexKey};
use crate::limits::Limits;
use crate::toc::{self, BuiltIndex, IndexError, Origin, Text};
use crate::{LayerDigest, TocDigest, frames};

pub use location::{FOOTER_MAX, LocationError, TocLocation, footer, position};

/// What the image's manifest has a digest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// The TOC's JSON.
    Json(TocDigest),
    /// The TOC as it lies in the blob.
    Compressed(TocDigest),
}

impl Vouched {
    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> TocDigest {
        match self {
            Self::Json(digest) | Self::Compressed(digest) => *digest,
        }
    }
}

/// Makes the index of a zstd:chunked layer. `compressed` are the bytes of the blob at `location`. Nothing is written
/// before they are known to be what the manifest vouches for.
///
/// # Errors
/// [`IndexError`]; what was written is of no use then. [`IndexError::Digest`] and [`IndexError::Decode`] may be the
/// fault of whoever sent the bytes, the others are the image's.
pub fn build_index(
    layer: LayerDigest,
    location: &TocLocation,
    compressed: &[u8],
    vouched: Vouched,
    limits: &Limits,
    files: &mut IndexFiles<'_>,
) -> Result<BuiltIndex, IndexError> {
    toc::check_length(&location.range(), compressed)?;
    let json_digest = match vouched {
        Vouched::Json(digest) => Some(digest),
        Vouched::Compressed(expected) => {
            let found = TocDigest::from_bytes(Sha256::digest(compressed).into());
            if found != expected {
                return Err(IndexError::Digest { expected, found });
            }
            None
        }
    };
    let decoder = frames::Frames::new(compressed).map_err(crate::UnitError::from)?;
    let text = Text::new(decoder, location.json_size(), limits)?;
    let origin = Origin {
        key: IndexKey { layer, described_by: vouched.digest() },
        format: Format::ZstdChunked,
        content_end: location.content_end(),
        expansion: frames::EXPANSION_MAX,
        blob_size: location.blob_size(),
    };
    toc::build(text, json_digest, &origin, limits, files)
}
