//! Where a blob's TOC is: from an annotation of the manifest, or from the blob's footer.

use std::ops::Range;

use crate::{BlobOffset, limits::Limits};

/// Bytes at the end of a blob that [`footer`] wants, or the whole blob if it is smaller.
pub const FOOTER_MAX: usize = 64;

/// Footer of stargz, and of containers/storage until 2023: three numbers and the type.
const SHORT: usize = 40;
/// Its magic.
const SHORT_MAGIC: [u8; 8] = *b"GnUlInUx";
/// The footer of containers/storage since: three more numbers, of its tar-split.
const LONG: usize = FOOTER_MAX;
/// Its magic.
const LONG_MAGIC: [u8; 8] = *b"GNUlInUx";
/// The only type of TOC that there is (containers/storage, `internal.ManifestTypeCRFS`).
const TYPE: u64 = 1;
/// Magic and length of a skippable frame (RFC 8878, 3.1.2): the TOC lies in one.
const SKIPPABLE_HEADER: u64 = 8;

/// Why there is no way to a blob's TOC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Another number of parts, or parts that are no numbers.
    #[error("{0:?} is not a position of a TOC: three sizes and a type are expected")]
    Position(String),
    /// None of the known forms.
    #[error("the blob does not end with a zstd:chunked footer")]
    NoFooter,
    /// Written by a future version.
    #[error("TOCs of type {0} are not known")]
    Type(u64),
    /// Larger than what is there.
    #[error("the TOC is said to be the {size} bytes at byte {at} of a blob of {blob_size}")]
    OutsideBlob {
        /// Where it would begin.
        at: u64,
        /// Its compressed size.
        size: u64,
        /// The blob's size.
        blob_size: u64,
    },
    /// More than [`Limits::toc_compressed`] or [`Limits::toc_json`].
    #[error("the TOC has {size} bytes ({json_size} of JSON), which is more than Peel reads")]
    TooLarge {
        /// Its compressed size.
        size: u64,
        /// Its uncompressed size.
        json_size: u64,
    },
}

/// Where a blob's TOC is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocLocation {
    range: Range<BlobOffset>,
    json_size: u64,
    blob_size: u64,
}

impl TocLocation {
    /// The bytes of the blob to fetch: never empty, at most [`Limits::toc_compressed`].
    #[must_use]
    pub fn range(&self) -> Range<BlobOffset> {
        self.range.clone()
    }

    /// Size of the blob.
    #[must_use]
    pub fn blob_size(&self) -> u64 {
        self.blob_size
    }

    /// Size of the TOC's JSON.
    pub(super) fn json_size(&self) -> u64 {
        self.json_size
    }

    /// Where the frames of the tar end: before the skippable frame that the TOC lies in.
    pub(super) fn content_end(&self) -> BlobOffset {
        BlobOffset(self.range.start.0.saturating_sub(SKIPPABLE_HEADER))
    }

    fn checked(
        [at, size, json_size, kind]: [u64; 4],
        blob_size: u64,
        limits: &Limits,
    ) -> Result<Self, LocationError> {
        if kind != TYPE {
            return Err(LocationError::Type(kind));
        }
        let end = at.checked_add(size).filter(|end| *end <= blob_size);
        let Some(end) = end.filter(|_| size > 0 && at >= SKIPPABLE_HEADER) else {
            return Err(LocationError::OutsideBlob { at, size, blob_size });
        };
        if size > limits.toc_compressed || json_size > limits.toc_json {
            return Err(LocationError::TooLarge { size, json_size });
        }
        Ok(Self { range: BlobOffset(at)..BlobOffset(end), json_size, blob_size })
    }
}

/// From the annotation `….manifest-position`: offset, compressed size, size and type, with colons between.
///
/// # Errors
/// [`LocationError`].
pub fn position(annotation: &str, blob_size: u64, limits: &Limits) -> Result<TocLocation, LocationError> {
    let refused = || LocationError::Position(annotation.chars().take(100).collect());
    let mut parts = annotation.split(':');
    let mut numbers = [0; 4];
    for number in &mut numbers {
        let digits = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        *number = digits.and_then(|digits| digits.parse().ok()).ok_or_else(refused)?;
    }
    if parts.next().is_some() {
        return Err(refused());
    }
    TocLocation::checked(numbers, blob_size, limits)
}

/// From a blob's last bytes: [`FOOTER_MAX`] of them or more, or all.
///
/// # Errors
/// [`LocationError`].
pub fn footer(tail: &[u8], blob_size: u64, limits: &Limits) -> Result<TocLocation, LocationError> {
    let numbers = numbers(tail, LONG, LONG_MAGIC).or_else(|| numbers(tail, SHORT, SHORT_MAGIC));
    TocLocation::checked(numbers.ok_or(LocationError::NoFooter)?, blob_size, limits)
}

/// The first four numbers of a footer of `length` bytes that ends with `magic`.
fn numbers(tail: &[u8], length: usize, magic: [u8; 8]) -> Option<[u64; 4]> {
    let footer = tail.get(tail.len().checked_sub(length)?..)?;
    if !footer.ends_with(&magic) {
        return None;
    }
    let (words, _) = footer.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    words.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of layer-formats.md, A.4, with the header of their skippable frame: the TOC at 0x1234.
    const STARGZ: &str =
        "502a4d18280000003412000000000000000200000000000000080000000000000100000000000000476e556c496e5578";
    const STORAGE: &str = "502a4d184000000034120000000000000002000000000000000800000000000001000000000000003c1400000000000000010000000000000004000000000000474e556c496e5578";

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap_or("?"), 16).unwrap_or(0);
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn found(location: Result<TocLocation, LocationError>) -> Result<(u64, u64, u64), LocationError> {
        location.map(|it| (it.range().start.0, it.range().end.0, it.json_size()))
    }

    #[test]
    fn three_ways_to_the_same_toc() {
        let (limits, expected) = (Limits::default(), Ok((0x1234, 0x1434, 0x800)));
        assert_eq!(found(footer(&bytes(STARGZ), 0x2000, &limits)), expected);
        assert_eq!(found(footer(&[vec![9; 50], bytes(STORAGE)].concat(), 0x2000, &limits)), expected);
        assert_eq!(found(position("4660:512:2048:1", 0x2000, &limits)), expected);
        let location = position("4660:512:2048:1", 0x2000, &limits);
        assert_eq!(location.map(|it| it.content_end()), Ok(BlobOffset(0x1234 - 8)));
    }

    #[test]
    fn what_no_writer_writes() {
        let limits = Limits::default();
        let at = |annotation: &str| found(position(annotation, 0x2000, &limits));
        for text in ["", "1:2:3", "1:2:3:1:5", "8:x:3:1", "-8:2:3:1", "+8:2:3:1", "8: 2:3:1", "8:2:3:1 "] {
            assert_eq!(at(text), Err(LocationError::Position(text.to_owned())), "{text:?}");
        }
        assert!(at(&"9".repeat(500)).is_err());
        assert_eq!(at("8:2:3:2"), Err(LocationError::Type(2)));
        assert_eq!(at("8:8184:3:1"), Ok((8, 0x2000, 3)));
        for text in ["8:8185:3:1", "7:2:3:1", "8:0:3:1", "18446744073709551615:2:3:1"] {
            assert!(matches!(at(text), Err(LocationError::OutsideBlob { .. })), "{text}");
        }
        assert!(matches!(at("8:8:99999999999:1"), Err(LocationError::TooLarge { .. })));
        assert!(matches!(
            position("8:999999999:3:1", u64::MAX, &limits),
            Err(LocationError::TooLarge { .. })
        ));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_harmless() {
        for vector in [STARGZ, STORAGE] {
            // Without the header of the skippable frame.
            let whole = &bytes(vector)[8..];
            for cut in 0..whole.len() {
                let limits = Limits::default();
                assert_eq!(footer(&whole[cut + 1..], 0x2000, &limits), Err(LocationError::NoFooter));
                for value in 0..=255 {
                    let mut changed = whole.to_vec();
                    changed[cut] = value;
                    if let Ok(found) = footer(&changed, 0x2000, &limits) {
                        assert!(found.range().end.0 <= 0x2000 && found.range().start < found.range().end);
                    }
                }
            }
        }
    }
}
