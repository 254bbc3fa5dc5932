//! One inode, from either form on disk.

use super::{ReadError, View, superblock::Geometry};
use crate::{
    FileType, Rdev, Timestamp,
    format::{BLOCK, CompactInode, ExtendedInode, Layout, Nid, SLOT, XATTR_ALIGN, XattrHeader},
};

/// What stat(2) shows of an inode, and where the rest of it is.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    /// Its number.
    pub nid: Nid,
    /// `st_mode`: type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change; the only time there is.
    pub mtime: Timestamp,
    /// Bytes of content.
    pub size: u64,
    /// Links.
    pub nlink: u32,
    /// Number of a device node; 0:0 for all others.
    pub rdev: Rdev,
    file_type: FileType,
    pub(super) layout: Layout,
    /// First block of the content, or chunk format.
    pub(super) u: u32,
    /// Byte behind the header.
    pub(super) xattrs: u64,
    pub(super) xattr_len: u64,
}

impl Inode {
    /// What it is.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// The low twelve bits of the mode.
    #[must_use]
    pub fn permissions(&self) -> u16 {
        self.mode & 0o7777
    }

    pub(super) fn parse(view: View<'_>, geometry: &Geometry, nid: Nid) -> Result<Self, ReadError> {
        let corrupt = |problem| ReadError::Corrupt { nid, problem };
        let outside = || corrupt("lies outside of the image");
        let at =
            nid.0.checked_mul(SLOT).and_then(|it| it.checked_add(geometry.meta_base)).ok_or_else(outside)?;
        let compact: &CompactInode = view.record(at).ok_or_else(outside)?;
        let format = compact.format.get();
        let layout = Layout::from_format(format).ok_or_else(|| corrupt("has an unknown layout"))?;
        let mode = compact.mode.get();
        let file_type = FileType::from_mode(mode).ok_or_else(|| corrupt("has no type"))?;
        let xattr_len = match compact.xattr_icount.get() {
            0 => 0,
            1 => return Err(corrupt("has xattrs of an impossible length")),
            units => size_of::<XattrHeader>() as u64 + u64::from(units - 1) * XATTR_ALIGN as u64,
        };

        let inode = if format & 1 == 1 {
            let it: &ExtendedInode = view.record(at).ok_or_else(outside)?;
            Self {
                nid,
                mode,
                uid: it.uid.get(),
                gid: it.gid.get(),
                mtime: Timestamp { seconds: it.mtime.get(), nanoseconds: it.mtime_nsec.get() },
                size: it.size.get(),
                nlink: it.nlink.get(),
                rdev: device(file_type, it.u.get()),
                file_type,
                layout,
                u: it.u.get(),
                xattrs: at + size_of::<ExtendedInode>() as u64,
                xattr_len,
            }
        } else {
            let seconds = geometry.epoch.wrapping_add(u64::from(compact.mtime.get()));
            Self {
                nid,
                mode,
                uid: u32::from(compact.uid.get()),
                gid: u32::from(compact.gid.get()),
                mtime: Timestamp { seconds: seconds.cast_signed(), nanoseconds: geometry.epoch_nanoseconds },
                size: u64::from(compact.size.get()),
                nlink: u32::from(compact.nlink.get()),
                rdev: device(file_type, compact.u.get()),
                file_type,
                layout,
                u: compact.u.get(),
                xattrs: at + size_of::<CompactInode>() as u64,
                xattr_len,
            }
        };
        if i64::try_from(inode.size).is_err() {
            return Err(corrupt("has a size beyond 63 bits"));
        }
        Ok(inode)
    }

    /// Byte behind the xattrs: inline tail or chunk index.
    pub(super) fn body(&self) -> u64 {
        self.xattrs + self.xattr_len
    }

    /// Block `index` of content that lies in the image itself, without padding.
    pub(super) fn content_block<'a>(&self, view: View<'a>, index: u64) -> Result<&'a [u8], ReadError> {
        let start = index.saturating_mul(BLOCK);
        let length = self.size.saturating_sub(start).min(BLOCK);
        let at = match self.layout {
            Layout::Chunk => return Err(self.corrupt("has chunks, but is not a file")),
            Layout::Inline if index == self.size / BLOCK => {
                // The kernel refuses it, too.
                if self.body() % BLOCK + length > BLOCK {
                    return Err(self.corrupt("has a tail that crosses a block"));
                }
                self.body()
            }
            Layout::Inline | Layout::Plain => (u64::from(self.u) * BLOCK).saturating_add(start),
        };
        view.slice(at, length).ok_or_else(|| self.corrupt("has content outside of the image"))
    }

    pub(super) fn corrupt(&self, problem: &'static str) -> ReadError {
        ReadError::Corrupt { nid: self.nid, problem }
    }
}

fn device(file_type: FileType, u: u32) -> Rdev {
    match file_type {
        FileType::CharDevice | FileType::BlockDevice => Rdev::decode(u),
        _ => Rdev::default(),
    }
}
