//! Unpacking a layer into a tree, as containerd unpacks it into a directory for overlayfs.
//!
//! Every format feeds the same [`Unpacker`], entry by entry in the order of the layer's tar, and what comes out is
//! what a user would see on overlayfs. The rules are those of containerd's `Apply` (pkg/archive/tar.go,
//! tar_opts_linux.go, tar_unix.go; the same from 1.6.20 to main), among them some that surprise:
//!
//! - parents are resolved inside the tree of *this layer*, following its symlinks, scoped to its root; those that
//!   are missing are made. The layer *implies* them: what mode they have depends on the layers below
//!   ([`crate::implied`]), so they are marked;
//! - an entry replaces what has its name, unless both are directories: then mode, owner and time change and xattrs
//!   are added;
//! - a whiteout of a name that the layer itself has made fails the layer (`mknod`, EEXIST), while a file after its
//!   whiteout replaces it;
//! - every name that begins with `.wh.` is a whiteout, also `.wh..wh.plnk`; only `.wh..wh..opq` makes its
//!   directory opaque;
//! - a hard link's own mode, owner and time are given to the inode that it shares, and the `chown` takes away that
//!   inode's `security.capability`, as the kernel does it;
//! - the root keeps its own attributes, whatever an entry `./` says.
//!
//! Where containerd would write outside what was meant (`..` above the root, which it clamps), the layer is refused.
//!
//! Compared with containerd 1.7.27's own `archive.Apply` on 26,000 random layers full of links, whiteouts and
//! replacements: of the layers that both accept, all but a dozen give equal trees. What differs is left so: a directory
//! that is named after something below it does not keep the xattrs of the layer below beside its own; the times of
//! directories that were replaced by symlinks, or twice; and layers on which containerd fails at its very end (times of
//! directories that the layer itself removed) are accepted.

mod error;
pub(crate) mod path;
mod xattr;

use std::collections::HashSet;

use peel_erofs::{Metadata, NodeId, NodeKind, Rdev, Timestamp, Tree};

use crate::limits::Limits;
pub use error::EntryError;
pub(crate) use xattr::COUNT_MAX as XATTRS_MAX;
use xattr::Xattrs;

/// Name prefix of a whiteout (OCI image spec, layer.md).
const WHITEOUT: &[u8] = b".wh.";
/// Name of the entry that makes its directory opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// One entry of a layer's tar, in whatever form the format has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Path as the layer has it: absolute, with `./`, with a slash at the end.
    pub name: &'a [u8],
    /// What it is.
    pub kind: EntryKind<'a>,
    /// Mode, owner, time, and xattrs of any name, one of a name at most.
    pub metadata: Metadata,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// Directory.
    Directory,
    /// Regular file of so many bytes. Its place in the data file is given later.
    File(u64),
    /// Symbolic link, with its target.
    Symlink(&'a [u8]),
    /// Hard link, with the path of what it links to.
    HardLink(&'a [u8]),
    /// Character device.
    CharDevice(Rdev),
    /// Block device.
    BlockDevice(Rdev),
    /// Named pipe.
    Fifo,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// A regular file: its node awaits a place in the data file.
    File(NodeId),
    /// Something without bytes of its own: also a file whose name makes it a whiteout.
    Other,
}

/// The tree of a layer, complete.
#[derive(Debug)]
pub struct Unpacked {
    /// The tree.
    pub tree: Tree,
    /// Paths of the directories that the layer implies but does not name, parents before children.
    pub implied: Vec<Vec<u8>>,
}

/// Builds a tree from entries. See the [module](self).
#[derive(Debug)]
pub struct Unpacker {
    tree: Tree,
    implied: HashSet<NodeId>,
    limits: Limits,
    /// What is left of [`Limits::lookups`].
    lookups: u64,
}

impl Unpacker {
    /// An empty layer: a root of mode 0755 that belongs to root.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let root = Metadata { permissions: 0o755, ..Metadata::default() };
        Self { tree: Tree::new(root), implied: HashSet::new(), limits: *limits, lookups: limits.lookups }
    }

    /// Unpacks the next entry.
    ///
    /// # Errors
    /// [`EntryError`] where containerd would fail, where the entry leaves the root, and at the [`Limits`]. The tree
    /// is of no use then.
    pub fn apply(&mut self, entry: &Entry<'_>) -> Result<Placed, EntryError> {
        let components = path::clean(entry.name)?;
        let Some((&name, parents)) = components.split_last() else {
            return Ok(Placed::Other);
        };
        let parent = self.make_directory(parents, entry.metadata.mtime)?;
        if name == OPAQUE {
            Xattrs(self.tree.metadata_mut(parent)).set(b"trusted.overlay.opaque", b"y")?;
            return Ok(Placed::Other);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(parent, hidden, &entry.metadata);
        }
        if let (EntryKind::Directory, Some(existing)) = (entry.kind, self.tree.child(parent, name))
            && matches!(self.tree.kind(existing), NodeKind::Directory)
        {
            self.implied.remove(&existing);
            Xattrs(self.tree.metadata_mut(existing)).change_to(&entry.metadata, true)?;
            return Ok(Placed::Other);
        }
        let replaced = self.tree.unlink(parent, name);
        let placed = match entry.kind {
            EntryKind::HardLink(target) => self.hard_link(parent, name, target, &entry.metadata)?,
            kind => self.insert(parent, name, kind, &entry.metadata)?,
        };
        if let Some(replaced) = replaced {
            self.keep_directory_time(replaced, parent, name);
        }
        Ok(placed)
    }

    /// containerd sets the times of directories at the end, by name: what took the name of one that the layer had
    /// named gets that one's time.
    fn keep_directory_time(&mut self, replaced: NodeId, parent: NodeId, name: &[u8]) {
        let was_named =
            matches!(self.tree.kind(replaced), NodeKind::Directory) && !self.implied.contains(&replaced);
        let mtime = self.tree.metadata(replaced).mtime;
        if let Some(node) = self.tree.child(parent, name).filter(|_| was_named)
            && !matches!(self.tree.kind(node), NodeKind::Symlink(_))
        {
            self.tree.metadata_mut(node).mtime = mtime;
        }
    }

    /// Gives a file its first block in the data file.
    pub fn place(&mut self, file: NodeId, start_block: u32) {
        self.tree.set_start_block(file, start_block);
    }

    /// Takes `name` out of the root directory, as if no entry had had it.
    pub fn hide_in_root(&mut self, name: &[u8]) {
        self.tree.unlink(self.tree.root(), name);
    }

    /// The tree and what it implies.
    ///
    /// # Errors
    /// [`EntryError::TooManyImplied`].
    pub fn finish(self) -> Result<Unpacked, EntryError> {
        let implied = path::paths_of(&self.tree, &self.implied, self.limits.implied_bytes)?;
        Ok(Unpacked { tree: self.tree, implied })
    }

    fn insert(
        &mut self,
        parent: NodeId,
        name: &[u8],
        kind: EntryKind<'_>,
        metadata: &Metadata,
    ) -> Result<Placed, EntryError> {
        let kind = match kind {
            EntryKind::Directory => NodeKind::Directory,
            EntryKind::File(size) => NodeKind::File { size, start_block: 0 },
            // A link's target can only be text of this layer; hard links go another way.
            EntryKind::Symlink(target) | EntryKind::HardLink(target) => NodeKind::Symlink(target.to_vec()),
            EntryKind::CharDevice(rdev) => NodeKind::CharDevice(rdev),
            EntryKind::BlockDevice(rdev) => NodeKind::BlockDevice(rdev),
            EntryKind::Fifo => NodeKind::Fifo,
        };
        let is_file = matches!(kind, NodeKind::File { .. });
        // Symlinks have no mode of their own on Linux.
        let symlink = matches!(kind, NodeKind::Symlink(_));
        let plain = is_file || matches!(kind, NodeKind::Directory);
        let mut own = Metadata::default();
        Xattrs(&mut own).change_to(metadata, plain)?;
        if symlink {
            own.permissions = 0o777;
        }
        let node = self.add_node(parent, name, kind, own)?;
        Ok(if is_file { Placed::File(node) } else { Placed::Other })
    }

    fn whiteout(&mut self, parent: NodeId, hidden: &[u8], metadata: &Metadata) -> Result<Placed, EntryError> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(EntryError::InvalidWhiteout);
        }
        if self.tree.child(parent, hidden).is_some() {
            return Err(EntryError::WhiteoutOfOwn);
        }
        // As mknod(path, S_IFCHR, 0) and chown leave it.
        let own = Metadata { permissions: 0, xattrs: Vec::new(), ..*metadata };
        self.add_node(parent, hidden, NodeKind::CharDevice(Rdev::WHITEOUT), own)?;
        Ok(Placed::Other)
    }

    fn hard_link(
        &mut self,
        parent: NodeId,
        name: &[u8],
        target: &[u8],
        metadata: &Metadata,
    ) -> Result<Placed, EntryError> {
        let target = self.link_target(target)?;
        self.tree.link(parent, name, target)?;
        let kind = self.tree.kind(target);
        let (is_file, symlink) =
            (matches!(kind, NodeKind::File { .. }), matches!(kind, NodeKind::Symlink(_)));
        let shared = self.tree.metadata_mut(target);
        let permissions = if symlink { shared.permissions } else { metadata.permissions };
        let mut shared = Xattrs(shared);
        shared.chown_takes_capabilities();
        shared.change_to(metadata, is_file)?;
        shared.0.permissions = permissions;
        Ok(Placed::Other)
    }

    /// What a hard link's path names: its directory is resolved like a parent, its last name is not followed.
    fn link_target(&mut self, target: &[u8]) -> Result<NodeId, EntryError> {
        path::clean(target)?;
        let (parents, name) = match target.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&target[..slash], &target[slash + 1..]),
            None => (&b""[..], target),
        };
        let walk = path::walk(&self.tree, parents.split(|&byte| byte == b'/'), &mut self.lookups)?;
        match self.tree.child(walk.directory(), name) {
            _ if !walk.missing.is_empty() => Err(EntryError::NoTarget),
            Some(node) => Ok(node),
            // Names a directory, in a roundabout way: `link` will refuse it.
            None if matches!(name, b"" | b"." | b"..") => Ok(walk.directory()),
            None => Err(EntryError::NoTarget),
        }
    }

    /// The directory that a path of directories means, made if need be.
    fn make_directory(&mut self, path: &[&[u8]], mtime: Timestamp) -> Result<NodeId, EntryError> {
        let walk = path::walk(&self.tree, path.iter().copied(), &mut self.lookups)?;
        let mut directory = walk.directory();
        let missing: Vec<_> = walk.missing.iter().map(|name| name.to_vec()).collect();
        for name in missing {
            // The time of what needed it: any is as good, for containerd's is that of the unpacking.
            let gid = inherited_group(self.tree.metadata(directory)).unwrap_or_default();
            let own = Metadata { permissions: 0o755, gid, mtime, ..Metadata::default() };
            directory = self.add_node(directory, &name, NodeKind::Directory, own)?;
            self.implied.insert(directory);
        }
        Ok(directory)
    }

    fn add_node(
        &mut self,
        parent: NodeId,
        name: &[u8],
        kind: NodeKind,
        metadata: Metadata,
    ) -> Result<NodeId, EntryError> {
        if self.tree.node_count() as u64 > self.limits.entries {
            return Err(EntryError::TooManyNodes(self.limits.entries));
        }
        Ok(self.tree.insert(parent, name, kind, metadata)?)
    }
}

/// The group that mkdir(2) gives a directory in `parent`, if it is not that of who makes it.
pub(crate) fn inherited_group(parent: &Metadata) -> Option<u32> {
    const SETGID: u16 = 0o2000;
    (parent.permissions & SETGID != 0).then_some(parent.gid)
}

#[cfg(test)]
mod tests;
