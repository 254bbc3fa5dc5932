//! The TOC's gzip member: a tar whose first entry is the JSON.

use crate::index::UnitError;
use crate::inflate::Member;
use crate::limits::Limits;
use crate::toc::{IndexError, Text};

/// The entry's name in the tar.
pub(crate) const NAME: &str = "stargz.index.json";

/// Bytes of a tar header (POSIX ustar).
const HEADER: usize = 512;

/// The JSON in the TOC's member. What follows it, in the tar and in the blob, is not looked at.
pub(super) fn open<'a>(member: &'a [u8], limits: &Limits) -> Result<Text<Member<'a>>, IndexError> {
    let mut member = Member::new(member);
    let mut header = [0; HEADER];
    if member.inflate(&mut header).map_err(UnitError::from)? < HEADER {
        return Err(UnitError::TooShort.into());
    }
    Text::new(member, size_in(&header)?, limits)
}

/// Checks the tar header; gives the size of the entry.
fn size_in(header: &[u8; HEADER]) -> Result<u64, IndexError> {
    let name = header[..100].split(|&byte| byte == 0).next().unwrap_or_default();
    if name != NAME.as_bytes() {
        return Err(IndexError::Tar("the first tar entry has another name"));
    }
    if !matches!(header[156], b'0' | 0) {
        return Err(IndexError::Tar("the first tar entry is not a file"));
    }
    // The checksum is taken over the header with blanks in its own place.
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    let own: u64 = header[148..156].iter().map(|&byte| u64::from(byte)).sum();
    if octal(&header[148..156]) != Some(sum - own + 8 * u64::from(b' ')) {
        return Err(IndexError::Tar("the tar header has a wrong checksum"));
    }
    octal(&header[124..136]).ok_or(IndexError::Tar("the tar header has no size"))
}

/// A number of a tar header: octal digits between blanks and NULs. (Sizes of 8 GiB and up have another form.)
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_start().split(|byte| matches!(byte, 0 | b' ')).next()?;
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
