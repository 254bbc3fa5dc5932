//! Reads an image, in place: nothing is copied or allocated on the way from a name to an inode.
//!
//! Any bytes may be opened. Every offset is checked when it is used, and every loop is bounded by the length of the
//! image, so that a damaged or hostile one costs an error, never a panic or an endless walk. What is accepted is
//! narrower than the kernel: features that [`write_image`](crate::write_image) does not use are refused by name,
//! and a superblock without checksum is, too.
//!
//! Only the first block has a checksum: who cares about the rest compares a digest of the whole image first.

mod data;
mod directory;
mod error;
mod inode;
mod superblock;
mod view;
mod xattr;

pub use directory::{DirEntry, ReadDir};
pub use error::ReadError;
pub use inode::Inode;
pub use xattr::{XattrRef, Xattrs};

use self::{superblock::Geometry, view::View};
use crate::{
    FileType,
    format::{BLOCK, Nid},
};

/// An image, over the whole metadata file. See the [module](self).
#[derive(Clone)]
pub struct Image<B> {
    bytes: B,
    geometry: Geometry,
}

impl<B: AsRef<[u8]>> Image<B> {
    /// Checks the first block and the root inode of an image.
    ///
    /// # Errors
    /// It is none, it is damaged there or shorter than it says, or it uses features beyond [`crate::write_image`]'s.
    pub fn open(bytes: B) -> Result<Self, ReadError> {
        let geometry = Geometry::parse(View(bytes.as_ref()))?;
        let image = Self { bytes, geometry };
        let root = image.inode(image.root())?;
        if root.file_type() != FileType::Directory {
            return Err(root.corrupt("the root is not a directory"));
        }
        Ok(image)
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> Nid {
        self.geometry.root
    }

    /// Inodes in the image, as it says: for statfs.
    #[must_use]
    pub fn inodes(&self) -> u64 {
        self.geometry.inodes
    }

    /// 4 KiB blocks of the image, as it says: for statfs.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.geometry.blocks
    }

    /// 4 KiB blocks of the data device.
    #[must_use]
    pub fn data_blocks(&self) -> u32 {
        self.geometry.data_blocks
    }

    /// An inode by number.
    ///
    /// # Errors
    /// There is none, or the image is corrupt there.
    pub fn inode(&self, nid: Nid) -> Result<Inode, ReadError> {
        Inode::parse(self.view(), &self.geometry, nid)
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// The inode is none, or the image is corrupt there.
    pub fn symlink_target(&self, inode: &Inode) -> Result<&[u8], ReadError> {
        if inode.file_type() != FileType::Symlink {
            return Err(ReadError::NotASymlink(inode.nid));
        }
        // Longer than a block is longer than any path.
        let target = if inode.size < BLOCK { inode.content_block(self.view(), 0)? } else { &[] };
        if target.is_empty() || target.contains(&0) {
            return Err(inode.corrupt("symlink target is empty, too long or has a NUL"));
        }
        Ok(target)
    }

    /// The one entry of `name` in a directory, found by bisection.
    ///
    /// # Errors
    /// The inode is no directory, or the image is corrupt there.
    pub fn lookup(&self, directory: &Inode, name: &[u8]) -> Result<Option<DirEntry<'_>>, ReadError> {
        directory::lookup(self.view(), directory, name)
    }

    /// Entries of a directory, `.` and `..` among them, in the order of their names. `from` is 0 or a
    /// [`DirEntry::next`]; anything else is safe, and shows some later part of the directory.
    ///
    /// # Errors
    /// The inode is no directory. What is corrupt ends the iterator with an error.
    pub fn read_dir(&self, directory: &Inode, from: u64) -> Result<ReadDir<'_>, ReadError> {
        ReadDir::new(self.view(), directory, from)
    }

    /// Extended attributes of an inode in the kernel's order. What is corrupt ends the iterator with an error.
    pub fn xattrs(&self, inode: &Inode) -> Xattrs<'_> {
        Xattrs::new(self.view(), &self.geometry, inode)
    }

    /// Value of one extended attribute.
    ///
    /// # Errors
    /// The image is corrupt there.
    pub fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Option<&[u8]>, ReadError> {
        for xattr in self.xattrs(inode) {
            let xattr = xattr?;
            if xattr.has_name(name) {
                return Ok(Some(xattr.value));
            }
        }
        Ok(None)
    }

    /// Byte in the data device from which on a regular file lies there in one piece; nothing if it is empty.
    ///
    /// # Errors
    /// The inode is no regular file, its data is elsewhere, scattered, a hole or beyond the device, or the image is
    /// corrupt there.
    pub fn data_start(&self, inode: &Inode) -> Result<Option<u64>, ReadError> {
        data::start(self.view(), &self.geometry, inode)
    }

    /// Bytes of the image.
    pub(crate) fn len(&self) -> usize {
        self.view().0.len()
    }

    fn view(&self) -> View<'_> {
        View(self.bytes.as_ref())
    }
}

impl<B> std::fmt::Debug for Image<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}
