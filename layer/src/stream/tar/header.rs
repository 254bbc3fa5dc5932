//! A header block: V7, ustar, star or GNU, told apart as Go's archive/tar does it (format.go, reader.go).

use super::super::TarProblem;
use super::number::{numeric, octal, string};
use super::{BLOCK, pax::Records};

/// Regular file, and the same in headers older than ustar, where a slash at the end of the name makes a directory.
pub(super) const REGULAR: u8 = b'0';
const REGULAR_OLD: u8 = 0;
pub(super) const DIRECTORY: u8 = b'5';
/// PAX header of the next entry, of all further ones.
pub(super) const PAX: u8 = b'x';
pub(super) const PAX_GLOBAL: u8 = b'g';
/// GNU: the next entry's name, its link's target.
pub(super) const LONG_NAME: u8 = b'L';
pub(super) const LONG_LINK: u8 = b'K';
/// GNU: a sparse file with its map in the header.
pub(super) const SPARSE: u8 = b'S';

/// What a header says, and what PAX records say instead.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// Of the content in the tar; of a sparse file, once its map was looked for, that of the whole file.
    pub(super) size: i64,
    /// Of the content in the tar that is not yet read.
    pub(super) stored: u64,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    /// Seconds, and nanoseconds of the same sign.
    pub(super) mtime: (i64, i64),
    pub(super) device: (i64, i64),
    pub(super) is_gnu: bool,
    /// Of its PAX header.
    pub(super) records: Records,
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, TarProblem> {
        if octal(&block[148..156]).map_or(true, |stored| !checksums(block).contains(&stored)) {
            return Err(TarProblem::Header("not a tar header, or its checksum is wrong"));
        }
        let format = Format::of(block);
        let mut header = Self {
            kind: block[156],
            name: string(&block[..100]).to_vec(),
            link: string(&block[157..257]).to_vec(),
            size: numeric(&block[124..136])?,
            stored: 0,
            mode: numeric(&block[100..108])?,
            uid: numeric(&block[108..116])?,
            gid: numeric(&block[116..124])?,
            mtime: (numeric(&block[136..148])?, 0),
            device: (0, 0),
            is_gnu: format == Format::Gnu,
            records: Records::default(),
        };
        if format == Format::V7 {
            return Ok(header);
        }
        header.device = (numeric(&block[329..337])?, numeric(&block[337..345])?);
        let prefix = match format {
            Format::Ustar => string(&block[345..500]),
            Format::Star => {
                // Its times are read and not used, but must be numbers.
                numeric(&block[476..488])?;
                numeric(&block[488..500])?;
                string(&block[345..476])
            }
            // Go before 1.8 wrote a prefix where GNU has times.
            _ if gnu_times_are_bad(block) => {
                Some(string(&block[345..500])).filter(|it| it.is_ascii()).unwrap_or_default()
            }
            _ => b"",
        };
        if !prefix.is_empty() {
            header.name = [prefix, b"/", &header.name].concat();
        }
        Ok(header)
    }

    /// It tells about the entry behind it.
    pub(super) fn is_special(&self) -> bool {
        matches!(self.kind, PAX | PAX_GLOBAL | LONG_NAME | LONG_LINK)
    }

    /// Links, devices, directories and pipes have no content, whatever size they claim.
    pub(super) fn has_content(&self) -> bool {
        !(b'1'..=b'6').contains(&self.kind)
    }

    /// Its size, if one is possible.
    pub(super) fn size(&self) -> Result<u64, TarProblem> {
        u64::try_from(self.size).map_err(|_| TarProblem::Header("its size is negative"))
    }

    /// A header older than ustar says what it is by its name.
    pub(super) fn settle_kind(&mut self) {
        if self.kind == REGULAR_OLD {
            self.kind = if self.name.ends_with(b"/") { DIRECTORY } else { REGULAR };
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Format {
    fn of(block: &[u8; BLOCK]) -> Self {
        match (&block[257..263], &block[263..265], &block[508..512]) {
            (b"ustar\0", _, b"tar\0") => Self::Star,
            (b"ustar\0", ..) => Self::Ustar,
            (b"ustar ", b" \0", _) => Self::Gnu,
            _ => Self::V7,
        }
    }
}

/// Sums of the header's bytes with blanks for the checksum itself: unsigned, and signed as old Suns had it.
fn checksums(block: &[u8; BLOCK]) -> [i64; 2] {
    let blanked = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { b' ' } else { *byte };
    let bytes = || block.iter().enumerate().map(blanked);
    [bytes().map(i64::from).sum(), bytes().map(|byte| i64::from(byte.cast_signed())).sum()]
}

fn gnu_times_are_bad(block: &[u8; BLOCK]) -> bool {
    [&block[345..357], &block[357..369]].into_iter().any(|time| time[0] != 0 && numeric(time).is_err())
}
