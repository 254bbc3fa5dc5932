//! A file tree in memory, as it is built from a layer's index and before it becomes an image.
//!
//! It is an arena: nodes are numbered, directories map names to numbers, a hard link is a second name of one
//! number. Directories have exactly one name, so there are no cycles. A node whose last name was removed stays in
//! the arena unseen (layers hardly remove what they added) and is not written.
//!
//! A tree may have 2 million nodes from an index that nobody trusts. A node takes 88 bytes, a name about 70, and no
//! operation is slower than logarithmic whatever the order of insertion: hence a B-tree per directory, not a sorted
//! vector.

use std::{collections::BTreeMap, num::NonZeroU32};

use crate::{Metadata, NodeKind};

/// Longest name in a directory, in bytes (the kernel's `NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// Longest symlink target, in bytes (the kernel's `PATH_MAX` without the NUL).
pub const TARGET_MAX: usize = 4095;

/// A node of one [`Tree`]; means nothing in another. Holds its position plus one, which makes an optional id four
/// bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU32);

impl NodeId {
    /// Position in the arena: dense from 0 (the root), in order of insertion.
    #[must_use]
    pub fn index(self) -> usize {
        // A u32 fits usize on every target that can map an image.
        self.0.get() as usize - 1
    }
}

/// Why the tree refused a change. It is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Empty, `.`, `..`, or with a slash or NUL.
    #[error("{0:?} cannot be a name")]
    InvalidName(String),
    /// Longer than [`NAME_MAX`].
    #[error("name of {0} bytes, at most {NAME_MAX} are possible")]
    NameTooLong(usize),
    /// The parent has such a name already.
    #[error("{0:?} exists already")]
    Exists(String),
    /// The parent has no names.
    #[error("{0:?} would be in something that is not a directory")]
    NotADirectory(String),
    /// A directory cannot have two names.
    #[error("{0:?} would be a hard link to a directory")]
    LinkToDirectory(String),
    /// Empty, longer than [`TARGET_MAX`], or with a NUL.
    #[error("symlink target of {0} bytes is empty, too long or holds a NUL")]
    InvalidTarget(usize),
    /// Device number beyond 12 + 20 bits.
    #[error("device number {major}:{minor} does not fit 12 + 20 bits")]
    InvalidDevice {
        /// As asked for.
        major: u32,
        /// As asked for.
        minor: u32,
    },
    /// 2^32 - 1 nodes.
    #[error("too many nodes")]
    TooManyNodes,
}

#[derive(Clone, Debug)]
struct Node {
    kind: NodeKind,
    metadata: Metadata,
    /// Index in `Tree::directories`, when it is one.
    directory: u32,
}

const _: () = assert!(size_of::<Node>() <= 88, "2 million of them are in memory at once");

#[derive(Clone, Debug, Default)]
struct Directory {
    parent: Option<NodeId>,
    children: BTreeMap<Box<[u8]>, NodeId>,
}

/// A file tree. See the [module](self).
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    directories: Vec<Directory>,
}

impl Tree {
    /// A tree of one directory.
    #[must_use]
    pub fn new(root: Metadata) -> Self {
        let root = Node { kind: NodeKind::Directory, metadata: root, directory: 0 };
        Self { nodes: vec![root], directories: vec![Directory::default()] }
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> NodeId {
        NodeId(NonZeroU32::MIN)
    }

    /// How many nodes were ever inserted, with the root and with those that lost their last name.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// What `node` is.
    ///
    /// # Panics
    /// Here and in all that take a [`NodeId`]: may panic if the id is another tree's.
    #[must_use]
    pub fn kind(&self, node: NodeId) -> &NodeKind {
        &self.nodes[node.index()].kind
    }

    /// Mode, owner, time and attributes of `node`.
    #[must_use]
    pub fn metadata(&self, node: NodeId) -> &Metadata {
        &self.nodes[node.index()].metadata
    }

    /// The same, to change it.
    pub fn metadata_mut(&mut self, node: NodeId) -> &mut Metadata {
        &mut self.nodes[node.index()].metadata
    }

    /// Replaces mode, owner, time and attributes of `node`.
    pub fn set_metadata(&mut self, node: NodeId, metadata: Metadata) {
        self.nodes[node.index()].metadata = metadata;
    }

    /// Gives a regular file its place in the data device, for those who lay out data after the tree is known.
    /// Nothing happens to other nodes.
    pub fn set_start_block(&mut self, node: NodeId, block: u32) {
        if let NodeKind::File { start_block, .. } = &mut self.nodes[node.index()].kind {
            *start_block = block;
        }
    }

    /// Adds a node under a name that is free.
    ///
    /// # Errors
    /// The name, the target or the device number is impossible, the name is taken, or `parent` has no names.
    pub fn insert(
        &mut self,
        parent: NodeId,
        name: &[u8],
        kind: NodeKind,
        metadata: Metadata,
    ) -> Result<NodeId, TreeError> {
        check_kind(&kind)?;
        let id = u32::try_from(self.nodes.len() + 1).ok().and_then(NonZeroU32::new);
        let id = NodeId(id.ok_or(TreeError::TooManyNodes)?);
        self.add_name(parent, name, id)?;
        let directory = match kind {
            NodeKind::Directory => {
                let index = u32::try_from(self.directories.len()).map_err(|_| TreeError::TooManyNodes)?;
                self.directories.push(Directory { parent: Some(parent), children: BTreeMap::new() });
                index
            }
            _ => u32::MAX,
        };
        self.nodes.push(Node { kind, metadata, directory });
        Ok(id)
    }

    /// Adds a hard link: a further name of `target`.
    ///
    /// # Errors
    /// As [`Tree::insert`], and if `target` is a directory.
    pub fn link(&mut self, parent: NodeId, name: &[u8], target: NodeId) -> Result<(), TreeError> {
        match self.kind(target) {
            NodeKind::Directory => Err(TreeError::LinkToDirectory(lossy(name))),
            _ => self.add_name(parent, name, target),
        }
    }

    /// Removes a name, and of a directory everything below. Returns whose name it was, if there was one.
    pub fn unlink(&mut self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let removed = self.directory_mut(parent)?.children.remove(name)?;
        if let Some(directory) = self.directory_mut(removed) {
            directory.parent = None;
        }
        Some(removed)
    }

    /// Who is called `name` in `parent`; nobody if that is no directory.
    #[must_use]
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.directory(parent)?.children.get(name).copied()
    }

    /// Names in a directory, sorted by unsigned bytes; none if it is no directory.
    pub fn children(&self, directory: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        self.directory(directory)
            .into_iter()
            .flat_map(|it| it.children.iter())
            .map(|(name, id)| (&**name, *id))
    }

    /// The directory that holds a directory. Nothing for the root, for a removed directory and for other nodes
    /// (which may have several).
    #[must_use]
    pub fn parent_of(&self, directory: NodeId) -> Option<NodeId> {
        self.directory(directory)?.parent
    }

    fn directory(&self, node: NodeId) -> Option<&Directory> {
        self.directories.get(self.nodes[node.index()].directory as usize)
    }

    fn directory_mut(&mut self, node: NodeId) -> Option<&mut Directory> {
        self.directories.get_mut(self.nodes[node.index()].directory as usize)
    }

    fn add_name(&mut self, parent: NodeId, name: &[u8], node: NodeId) -> Result<(), TreeError> {
        check_name(name)?;
        let directory = self.directory_mut(parent).ok_or_else(|| TreeError::NotADirectory(lossy(name)))?;
        if directory.children.contains_key(name) {
            return Err(TreeError::Exists(lossy(name)));
        }
        directory.children.insert(name.into(), node);
        Ok(())
    }
}

/// Whether a directory can hold `name`.
fn check_name(name: &[u8]) -> Result<(), TreeError> {
    if name.len() > NAME_MAX {
        return Err(TreeError::NameTooLong(name.len()));
    }
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|&byte| byte == b'/' || byte == 0)
    {
        return Err(TreeError::InvalidName(lossy(name)));
    }
    Ok(())
}

fn check_kind(kind: &NodeKind) -> Result<(), TreeError> {
    match kind {
        NodeKind::Symlink(target) if !(1..=TARGET_MAX).contains(&target.len()) || target.contains(&0) => {
            Err(TreeError::InvalidTarget(target.len()))
        }
        NodeKind::CharDevice(rdev) | NodeKind::BlockDevice(rdev) if !rdev.is_valid() => {
            Err(TreeError::InvalidDevice { major: rdev.major, minor: rdev.minor })
        }
        _ => Ok(()),
    }
}

/// A name for a message; names need not be UTF-8.
fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
