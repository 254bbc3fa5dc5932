//! The footer: an empty gzip member whose extra field says where the TOC begins.
//!
//! Three forms are known, told apart by length and extra field: eStargz' own, that of its predecessor stargz (which
//! has no chunk digests; its TOC is refused later unless it has them), and one that says that the TOC is elsewhere.

use std::ops::Range;

use crate::{BlobOffset, limits::Limits};

/// Bytes at the end of a blob that [`footer`] wants, or the whole blob if it is smaller.
pub const FOOTER_MAX: usize = 51;

const LEGACY: usize = 47;
const EXTERNAL: usize = 46;
/// Magic of gzip, deflate, and FLG with nothing but FEXTRA (RFC 1952, 2.3.1).
const GZIP_EXTRA: [u8; 4] = [0x1f, 0x8b, 8, 4];
/// Where the extra field's length is, behind the magic, MTIME, XFL and OS.
const EXTRA_LENGTH: usize = 10;
const MAGIC: &[u8] = b"STARGZ";
const EXTERNAL_MAGIC: &[u8] = b"STARGZEXTERNALTOC";

/// Why a blob's end does not lead to a TOC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// None of the known forms.
    #[error("the blob does not end with an eStargz footer")]
    NotEStargz,
    /// The TOC is an image of its own; Peel does not look for it.
    #[error("the blob's TOC is external (eStargz with external TOC), which is not served lazily")]
    ExternalToc,
    /// Points behind the footer.
    #[error("the footer says that the TOC begins at byte {toc} of a blob whose footer begins at {footer}")]
    OutsideBlob {
        /// As the footer says.
        toc: BlobOffset,
        /// Where the footer begins.
        footer: u64,
    },
    /// More than [`Limits::toc_compressed`].
    #[error("the TOC has {size} bytes, more than {limit} are refused")]
    TocTooLarge {
        /// Bytes between the TOC's begin and the footer.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

/// Where a blob's TOC is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocLocation {
    range: Range<BlobOffset>,
    blob_size: u64,
}

impl TocLocation {
    /// The bytes of the blob to fetch: never empty, at most [`Limits::toc_compressed`].
    #[must_use]
    pub fn range(&self) -> Range<BlobOffset> {
        self.range.clone()
    }

    /// Size of the blob, footer included.
    #[must_use]
    pub fn blob_size(&self) -> u64 {
        self.blob_size
    }
}

/// Finds the TOC of a blob of `blob_size` bytes from its last bytes: [`FOOTER_MAX`] of them or more, or all.
///
/// # Errors
/// [`FooterError`].
pub fn footer(tail: &[u8], blob_size: u64, limits: &Limits) -> Result<TocLocation, FooterError> {
    let (toc, length) = parse(tail)?;
    let footer = blob_size.saturating_sub(length as u64);
    if toc.0 >= footer || length as u64 > blob_size {
        return Err(FooterError::OutsideBlob { toc, footer });
    }
    let size = footer - toc.0;
    if size > limits.toc_compressed {
        return Err(FooterError::TocTooLarge { size, limit: limits.toc_compressed });
    }
    Ok(TocLocation { range: toc..BlobOffset(footer), blob_size })
}

/// The TOC's begin and the footer's length.
fn parse(tail: &[u8]) -> Result<(BlobOffset, usize), FooterError> {
    let extra = |length| extra_field(tail.get(tail.len().checked_sub(length)?..)?);
    if let Some(toc) = extra(FOOTER_MAX).and_then(|it| it.strip_prefix(b"SG\x16\0")).and_then(toc_offset) {
        return Ok((toc, FOOTER_MAX));
    }
    if let Some(toc) = extra(LEGACY).and_then(toc_offset) {
        return Ok((toc, LEGACY));
    }
    if extra(EXTERNAL).and_then(|it| it.strip_prefix(b"SG\x11\0")) == Some(EXTERNAL_MAGIC) {
        return Err(FooterError::ExternalToc);
    }
    Err(FooterError::NotEStargz)
}

/// The extra field of a gzip header. How the (empty) rest is compressed is the writer's choice.
fn extra_field(footer: &[u8]) -> Option<&[u8]> {
    let fixed = footer.get(..EXTRA_LENGTH)?;
    let (length, rest) = footer.get(EXTRA_LENGTH..)?.split_first_chunk()?;
    if !fixed.starts_with(&GZIP_EXTRA) {
        return None;
    }
    rest.get(..u16::from_le_bytes(*length).into())
}

/// Sixteen hex digits and the magic, nothing else.
fn toc_offset(field: &[u8]) -> Option<BlobOffset> {
    let digits = field.strip_suffix(MAGIC).filter(|it| it.len() == 16)?;
    digits
        .iter()
        .try_fold(0u64, |value, digit| Some(value << 4 | u64::from(char::from(*digit).to_digit(16)?)))
        .map(BlobOffset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of layer-formats.md, A.1: the TOC at 0x1234.
    const ESTARGZ: &str = "1f8b08040000000000ff1a00534716003030303030303030303030303132333453544152475a010000ffff0000000000000000";
    const STARGZ: &str =
        "1f8b08040000000000ff16003030303030303030303030303132333453544152475a010000ffff0000000000000000";
    const ELSEWHERE: &str =
        "1f8b08040000000000ff15005347110053544152475a45585445524e414c544f43010000ffff0000000000000000";

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks_exact(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("?"), 16).unwrap_or(0))
            .collect()
    }

    fn find(hex: &str, blob_size: u64) -> Result<Range<u64>, FooterError> {
        // A caller may have fetched more than the footer.
        let tail = [vec![0xaa; 100], bytes(hex)].concat();
        footer(&tail, blob_size, &Limits::default()).map(|it| it.range().start.0..it.range().end.0)
    }

    #[test]
    fn known_forms() {
        assert_eq!(find(ESTARGZ, 0x2000), Ok(0x1234..0x2000 - 51));
        assert_eq!(find(STARGZ, 0x2000), Ok(0x1234..0x2000 - 47));
        assert_eq!(find(ELSEWHERE, 0x2000), Err(FooterError::ExternalToc));
        assert_eq!(find("00", 0x2000), Err(FooterError::NotEStargz));
    }

    #[test]
    fn toc_must_lie_before_the_footer() {
        assert_eq!(find(ESTARGZ, 0x1234 + 52), Ok(0x1234..0x1235));
        for size in [0, 50, 51, 0x1234, 0x1234 + 51] {
            assert!(matches!(find(ESTARGZ, size), Err(FooterError::OutsideBlob { .. })), "{size}");
        }
        let large = find(ESTARGZ, 1 << 40);
        assert!(matches!(large, Err(FooterError::TocTooLarge { .. })));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_harmless() {
        let whole = bytes(ESTARGZ);
        for cut in 0..whole.len() {
            assert_eq!(footer(&whole[cut + 1..], 0x2000, &Limits::default()), Err(FooterError::NotEStargz));
        }
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(found) = footer(&changed, 0x2000, &Limits::default()) {
                    assert!(found.range().end.0 <= 0x2000, "byte {at} = {value}");
                }
            }
        }
    }
}
