//! Entries of a ztoc's TOC (layer-formats.md, B.1), in the order of the tar.
//!
//! The TOC has what the tar's headers had, in fields, plus the raw PAX records, in which the xattrs are. It need not be
//! sorted (upstream sorts after reading), so places are collected and sorted first: 16 bytes an entry.
//!
//! Entries may share strings, and a small buffer could describe gigabytes that way. So the bytes of all strings taken
//! together are bounded, with a few for every xattr, named or not.

use peel_erofs::{Metadata, Rdev, Xattr};

use super::error::{EntryProblem, ZtocError};
use super::flat::{Table, Vector};
use crate::limits::Limits;
use crate::time::modification_time;
use crate::unpack::{EntryKind, XATTRS_MAX};

/// Prefix of the PAX records that are xattrs, as containerd knows it (`paxSchilyXattr`, pkg/archive/tar.go).
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Size of a tar's header, and what files are padded to (POSIX pax, ustar).
pub(super) const TAR_BLOCK: u64 = 512;

/// What a PAX record counts beside its bytes, so that empty ones are not free.
const RECORD: usize = 16;

/// Fields of `FileMetadata`, by their place in its vtable.
mod field {
    pub(super) const NAME: usize = 0;
    pub(super) const TYPE: usize = 1;
    pub(super) const OFFSET: usize = 2;
    pub(super) const SIZE: usize = 3;
    pub(super) const LINK: usize = 4;
    pub(super) const MODE: usize = 5;
    pub(super) const UID: usize = 6;
    pub(super) const GID: usize = 7;
    pub(super) const MODIFIED: usize = 10;
    pub(super) const MAJOR: usize = 11;
    pub(super) const MINOR: usize = 12;
    pub(super) const PAX: usize = 13;
}

/// The entries of a TOC, sorted by their place in the tar.
pub(super) struct Entries<'a> {
    list: Vector<'a>,
    /// Place in the tar, number in the list.
    order: Vec<(i64, u32)>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(list: Vector<'a>, limits: &Limits) -> Result<Self, ZtocError> {
        if list.len() as u64 > limits.entries {
            return Err(ZtocError::TooManyEntries(limits.entries));
        }
        let mut order = Vec::with_capacity(list.len());
        for number in 0..u32::try_from(list.len()).unwrap_or(u32::MAX) {
            order.push((list.table(number as usize)?.i64(field::OFFSET)?, number));
        }
        order.sort_unstable();
        Ok(Self { list, order })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Result<FileEntry<'a>, ZtocError>> {
        self.order.iter().map(|(_, number)| Ok(FileEntry(self.list.table(*number as usize)?)))
    }
}

/// One entry as it is written; values are checked when they are asked for.
#[derive(Clone, Copy)]
pub(super) struct FileEntry<'a>(Table<'a>);

/// Bytes of strings that may still be read.
#[derive(Debug)]
pub(super) struct Budget(pub(super) u64);

impl Budget {
    fn take(&mut self, bytes: usize) -> Result<(), EntryProblem> {
        self.0 = self.0.checked_sub(bytes as u64).ok_or(EntryProblem::TooMuchText)?;
        Ok(())
    }
}

impl<'a> FileEntry<'a> {
    pub(super) fn name(&self, budget: &mut Budget) -> Result<&'a [u8], EntryProblem> {
        self.text(field::NAME, budget)
    }

    /// What it is. Only files have bytes, whatever size another's header has (Go's archive/tar, `isHeaderOnly`).
    pub(super) fn kind(&self, budget: &mut Budget) -> Result<EntryKind<'a>, EntryProblem> {
        let link = self.text(field::LINK, budget)?;
        Ok(match self.0.bytes(field::TYPE)? {
            b"reg" => EntryKind::File(self.positive("uncompressed_size", field::SIZE)?),
            b"dir" => EntryKind::Directory,
            b"symlink" => EntryKind::Symlink(link),
            b"hardlink" => EntryKind::HardLink(link),
            b"char" => EntryKind::CharDevice(self.device()?),
            b"block" => EntryKind::BlockDevice(self.device()?),
            b"fifo" => EntryKind::Fifo,
            other => {
                let shown = String::from_utf8_lossy(&other[..other.len().min(40)]);
                return Err(EntryProblem::Type(shown.into_owned()));
            }
        })
    }

    /// Where its header ends in the tar.
    pub(super) fn offset(&self) -> Result<u64, EntryProblem> {
        self.positive("uncompressed_offset", field::OFFSET)
    }

    pub(super) fn metadata(&self, budget: &mut Budget) -> Result<Metadata, EntryProblem> {
        let time = std::str::from_utf8(self.0.bytes(field::MODIFIED)?).unwrap_or_default();
        Ok(Metadata {
            // Type bits of the tar's mode, if any, say nothing: the type has a field of its own.
            permissions: u16::try_from(self.0.i64(field::MODE)? & 0o7777).unwrap_or_default(),
            uid: self.owner("uid", field::UID)?,
            gid: self.owner("gid", field::GID)?,
            mtime: modification_time(time),
            xattrs: self.xattrs(budget)?,
        })
    }

    fn xattrs(&self, budget: &mut Budget) -> Result<Vec<Xattr>, EntryProblem> {
        let records = self.0.vector(field::PAX)?;
        let mut xattrs = Vec::new();
        for number in 0..records.len() {
            let record = records.table(number)?;
            let (key, value) = (record.bytes(0)?, record.bytes(1)?);
            budget.take(RECORD + key.len() + value.len())?;
            let Some(name) = key.strip_prefix(XATTR) else { continue };
            if xattrs.len() >= XATTRS_MAX {
                return Err(EntryProblem::TooManyXattrs);
            }
            xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
        }
        Ok(xattrs)
    }

    fn text(&self, number: usize, budget: &mut Budget) -> Result<&'a [u8], EntryProblem> {
        let text = self.0.bytes(number)?;
        budget.take(text.len())?;
        Ok(text)
    }

    /// 2^32 - 1 is not an owner: chown(2) takes it for "leave it".
    fn owner(&self, name: &'static str, number: usize) -> Result<u32, EntryProblem> {
        let id = self.0.u32(number)?;
        if id == u32::MAX { Err(EntryProblem::Value { field: name, value: id.into() }) } else { Ok(id) }
    }

    fn device(&self) -> Result<Rdev, EntryProblem> {
        let part = |name, number| {
            let value = self.0.i64(number)?;
            u32::try_from(value).map_err(|_| EntryProblem::Value { field: name, value })
        };
        Ok(Rdev { major: part("devmajor", field::MAJOR)?, minor: part("devminor", field::MINOR)? })
    }

    fn positive(&self, name: &'static str, number: usize) -> Result<u64, EntryProblem> {
        let value = self.0.i64(number)?;
        u64::try_from(value).map_err(|_| EntryProblem::Value { field: name, value })
    }
}
