//! An image back into a [`Tree`]: a snapshot whose layer implies directories that differ from those of other
//! snapshots changes their metadata and writes an image of its own.
//!
//! A hostile image could name one inode a million times, or lay inodes over each other. What is loaded is therefore
//! charged against the length of the image: [`write_image`](crate::write_image) stores nothing twice, so its images
//! always come back, and no image needs more memory than a constant times its length.

use std::collections::VecDeque;

use crate::{
    DirEntry, FileType, Image, Inode, Metadata, Nid, NodeId, NodeKind, ReadError, Tree, TreeError,
    format::{BLOCK, DIRENT_SIZE, SLOT, XattrEntry},
};

/// Why an image does not become a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Something in it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A name or a node is impossible or occurs twice.
    #[error("directory {directory}: {problem}")]
    Tree {
        /// Where.
        directory: Nid,
        /// What.
        problem: TreeError,
    },
    /// A directory with several names, perhaps its own descendants'.
    #[error("directory {0} has more than one name")]
    DirectoryTwice(Nid),
    /// More content than there are bytes.
    #[error("image describes more than it can hold: parts of it overlap")]
    Overlapping,
}

/// Loads all of an image. Inodes with several names become one node.
///
/// # Errors
/// The image is corrupt anywhere, is not a tree, or has files that are not in one piece in the data device.
pub fn load_tree<B: AsRef<[u8]>>(image: &Image<B>) -> Result<Tree, LoadError> {
    let root = image.inode(image.root())?;
    let mut loader = Loader::new(image);
    let metadata = loader.metadata(&root)?;
    let root_node = loader.tree.root();
    loader.tree.set_metadata(root_node, metadata);
    loader.remember(root.nid, root_node);

    let mut queue = VecDeque::from([(root, root_node)]);
    while let Some((directory, node)) = queue.pop_front() {
        for entry in image.read_dir(&directory, 0)? {
            let entry = entry?;
            loader.charge(DIRENT_SIZE + entry.name.len())?;
            if entry.name != b"." && entry.name != b".." {
                queue.extend(loader.add(directory.nid, node, &entry)?);
            }
        }
    }
    Ok(loader.tree)
}

struct Loader<'a, B> {
    image: &'a Image<B>,
    tree: Tree,
    /// By nid. An eighth of the image's length, less than a map of its inodes.
    nodes: Vec<Option<NodeId>>,
    /// Bytes that may still be loaded.
    budget: usize,
}

impl<'a, B: AsRef<[u8]>> Loader<'a, B> {
    fn new(image: &'a Image<B>) -> Self {
        let (length, slot) = (image.len(), usize::try_from(SLOT).unwrap_or(1));
        let nodes = vec![None; length.div_ceil(slot)];
        Self { image, tree: Tree::new(Metadata::default()), nodes, budget: length }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), LoadError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(LoadError::Overlapping)?;
        Ok(())
    }

    fn remember(&mut self, nid: Nid, node: NodeId) {
        if let Some(place) = self.place(nid) {
            *place = Some(node);
        }
    }

    fn place(&mut self, nid: Nid) -> Option<&mut Option<NodeId>> {
        self.nodes.get_mut(usize::try_from(nid.0).ok()?)
    }

    /// Adds what an entry names. Returns it if it is a directory, to be read later.
    fn add(
        &mut self,
        directory: Nid,
        parent: NodeId,
        entry: &DirEntry<'_>,
    ) -> Result<Option<(Inode, NodeId)>, LoadError> {
        let refused = |problem| match problem {
            TreeError::LinkToDirectory(_) => LoadError::DirectoryTwice(entry.nid),
            problem => LoadError::Tree { directory, problem },
        };
        if let Some(node) = self.place(entry.nid).and_then(|place| *place) {
            self.tree.link(parent, entry.name, node).map_err(refused)?;
            return Ok(None);
        }
        let inode = self.image.inode(entry.nid)?;
        let kind = self.kind(&inode)?;
        let metadata = self.metadata(&inode)?;
        let node = self.tree.insert(parent, entry.name, kind, metadata).map_err(refused)?;
        self.remember(inode.nid, node);
        Ok((inode.file_type() == FileType::Directory).then_some((inode, node)))
    }

    fn kind(&mut self, inode: &Inode) -> Result<NodeKind, LoadError> {
        Ok(match inode.file_type() {
            FileType::Directory => NodeKind::Directory,
            FileType::File => {
                let start = self.image.data_start(inode)?.unwrap_or_default() / BLOCK;
                // A block number of the image: 32 bits.
                NodeKind::File { size: inode.size, start_block: u32::try_from(start).unwrap_or_default() }
            }
            FileType::Symlink => {
                let target = self.image.symlink_target(inode)?;
                self.charge(target.len())?;
                NodeKind::Symlink(target.to_vec())
            }
            FileType::CharDevice => NodeKind::CharDevice(inode.rdev),
            FileType::BlockDevice => NodeKind::BlockDevice(inode.rdev),
            FileType::Fifo => NodeKind::Fifo,
            FileType::Socket => NodeKind::Socket,
        })
    }

    fn metadata(&mut self, inode: &Inode) -> Result<Metadata, LoadError> {
        let mut xattrs = Vec::new();
        for xattr in self.image.xattrs(inode) {
            let xattr = xattr?;
            self.charge(size_of::<XattrEntry>() + xattr.suffix.len() + xattr.value.len())?;
            xattrs.push(xattr.to_xattr());
        }
        Ok(Metadata {
            permissions: inode.permissions(),
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            xattrs,
        })
    }
}
