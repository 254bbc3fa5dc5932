//! A ztoc: what SOCI keeps of a layer (layer-formats.md, B.1). A flatbuffer with the TOC, the digests of the spans, and
//! the checkpoints as an opaque blob.

use super::entry::Entries;
use super::error::ZtocError;
use super::flat::{Table, Vector};
use super::spans::{self, Digests, Sizes, Span, positive};
use crate::limits::Limits;

/// How the layer is compressed. The schema has `Gzip` as default, so a ztoc of a gzip layer need not say so.
const GZIP: i8 = 1;
const UNCOMPRESSED: i8 = 2;

/// A ztoc, opened: its entries sorted, its spans checked.
pub(super) struct Ztoc<'a> {
    pub(super) entries: Entries<'a>,
    pub(super) spans: Vec<Span<'a>>,
    pub(super) sizes: Sizes,
    /// gzip, or else not compressed.
    pub(super) gzip: bool,
}

impl<'a> Ztoc<'a> {
    /// Opens the ztoc of a blob of `blob_size` bytes.
    pub(super) fn open(bytes: &'a [u8], blob_size: u64, limits: &Limits) -> Result<Self, ZtocError> {
        let ztoc = Table::root(bytes)?;
        let sizes = Sizes {
            blob: positive("compressed_archive_size", ztoc.i64(2)?)?,
            archive: positive("uncompressed_archive_size", ztoc.i64(3)?)?,
        };
        if sizes.blob != blob_size {
            return Err(ZtocError::BlobSize { expected: blob_size, found: sizes.blob });
        }
        let toc = ztoc.table(4)?.ok_or(ZtocError::Missing("TOC"))?;
        let info = ztoc.table(5)?.ok_or(ZtocError::Missing("compression info"))?;
        let digests = Digests { list: info.vector(2)?, last: i32::from_le_bytes(info.scalar(1)?) };
        let checkpoints = info.bytes(3)?;
        let gzip = match i8::from_le_bytes(info.scalar(0)?) {
            0 | GZIP => true,
            UNCOMPRESSED => false,
            other => return Err(ZtocError::Compression(other)),
        };
        let spans = if gzip {
            spans::of_gzip(checkpoints, sizes, &digests)?
        } else {
            spans::of_tar(checkpoints, sizes, &digests)?
        };
        let entries: Vector<'a> = toc.vector(0)?;
        Ok(Self { entries: Entries::new(entries, limits)?, spans, sizes, gzip })
    }
}
