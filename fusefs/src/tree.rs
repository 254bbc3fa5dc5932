//! One slot's tree: names, attributes, xattrs, and where the bytes of a file lie in the slot's data file.
//!
//! A tree is opened for each request and kept by nobody: opening parses one superblock, and a slot that was
//! removed is gone with the next request. Any bytes may be in the image; what contradicts itself is a
//! [`Failure::Damaged`], never a panic.

use std::ops::Range;

use fuser::FileAttr;
use peel_erofs::{FileType, Image, Inode, Nid};
use peel_layer::{
    DataOffset,
    serve::{Slot, TreeImage},
};

use crate::{
    NodeId, attributes,
    failure::Failure,
    forest::{Detail, Entry, Take},
};

/// What a READ is answered with: always `length` bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing behind it in the data file: a hole, or past the end (then of length 0).
    Zeros(usize),
    /// This part of the data file.
    Data { range: Range<DataOffset>, length: usize },
}

struct ImageBytes(TreeImage);

impl AsRef<[u8]> for ImageBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// The tree of a slot.
pub(crate) struct Tree {
    slot: Slot,
    image: Image<ImageBytes>,
}

impl Tree {
    pub(crate) fn open(slot: Slot, image: TreeImage) -> Result<Self, Failure> {
        Ok(Self { slot, image: Image::open(ImageBytes(image))? })
    }

    pub(crate) fn root(&self) -> Result<Inode, Failure> {
        Ok(self.image.inode(self.image.root())?)
    }

    pub(crate) fn inode(&self, nid: u64) -> Result<Inode, Failure> {
        Ok(self.image.inode(Nid(nid))?)
    }

    pub(crate) fn attributes(&self, inode: &Inode) -> Result<FileAttr, Failure> {
        Ok(attributes::of_inode(self.id(inode.nid)?, inode))
    }

    /// The node id of the root.
    pub(crate) fn root_id(&self) -> Result<NodeId, Failure> {
        self.id(self.image.root())
    }

    /// The attributes of a child, if there is one.
    pub(crate) fn lookup(&self, directory: &Inode, name: &[u8]) -> Result<Option<FileAttr>, Failure> {
        let Some(entry) = self.image.lookup(directory, name)? else { return Ok(None) };
        self.attributes(&self.image.inode(entry.nid)?).map(Some)
    }

    /// Hands the entries of `directory` from the image's cookie `from` on to `take`. The parent of the tree's root
    /// is the FUSE root.
    pub(crate) fn list(
        &self,
        directory: &Inode,
        from: u64,
        detail: Detail,
        take: Take<'_>,
    ) -> Result<(), Failure> {
        let is_root = directory.nid == self.image.root();
        for entry in self.image.read_dir(directory, from)? {
            let entry = entry?;
            let is_dots = entry.name == b"." || entry.name == b"..";
            let id = if is_root && entry.name == b".." { NodeId::ROOT } else { self.id(entry.nid)? };
            let attributes = match detail {
                // The kernel throws away what a listing says of these two.
                Detail::Attributes if !is_dots => self.attributes(&self.image.inode(entry.nid)?)?,
                _ => attributes::bare(id, attributes::kind(entry.file_type)),
            };
            if !take(&Entry { attributes, name: entry.name, next: entry.next }) {
                break;
            }
        }
        Ok(())
    }

    /// Where a symbolic link leads.
    pub(crate) fn target(&self, inode: &Inode) -> Result<Vec<u8>, Failure> {
        Ok(self.image.symlink_target(inode)?.into())
    }

    pub(crate) fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.image.xattr(inode, name)?.map(<[u8]>::to_vec))
    }

    /// All names, each ended by a zero.
    pub(crate) fn xattr_names(&self, inode: &Inode) -> Result<Vec<u8>, Failure> {
        let mut names = Vec::new();
        for xattr in self.image.xattrs(inode) {
            let xattr = xattr?;
            names.extend_from_slice(xattr.prefix);
            names.extend_from_slice(xattr.suffix);
            names.push(0);
        }
        Ok(names)
    }

    /// Where `size` bytes of a regular file from `offset` on lie.
    pub(crate) fn extent(&self, inode: &Inode, offset: u64, size: u32) -> Result<Extent, Failure> {
        if inode.file_type() != FileType::File {
            return Err(Failure::WrongKind);
        }
        Ok(Extent::cut(self.image.data_start(inode)?, inode.size, offset, size))
    }

    /// The attributes of the slot's data file.
    pub(crate) fn data_attributes(&self) -> Result<FileAttr, Failure> {
        let id = NodeId::of_data(self.slot).ok_or(Failure::Stale)?;
        Ok(attributes::of_data(id, self.data_size()))
    }

    fn data_size(&self) -> u64 {
        u64::from(self.image.data_blocks()) * attributes::BLOCK
    }

    fn id(&self, nid: Nid) -> Result<NodeId, Failure> {
        NodeId::of_inode(self.slot, nid.0).ok_or(Failure::Stale)
    }
}

impl Extent {
    /// `size` bytes from `offset` on of a data file of `data_size` bytes: there, as far as it goes.
    pub(crate) fn of_data(data_size: DataOffset, offset: u64, size: u32) -> Self {
        Self::cut(Some(0), data_size.0, offset, size)
    }

    /// `size` bytes from `offset` on of a file of `file_size` bytes that starts at `start` of the data file, cut at
    /// the file's end.
    fn cut(start: Option<u64>, file_size: u64, offset: u64, size: u32) -> Self {
        let length = file_size.saturating_sub(offset).min(u64::from(size));
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        match start.and_then(|start| start.checked_add(offset)) {
            Some(at) if length > 0 => Self::Data { range: DataOffset(at).span(length), length: whole },
            _ => Self::Zeros(whole),
        }
    }
}

#[cfg(test)]
mod tests;
