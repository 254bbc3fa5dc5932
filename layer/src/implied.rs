//! Directories that a layer implies but does not name, seen from a snapshot.
//!
//! A layer that holds `tmp/x` and not `tmp` says nothing about `tmp`. containerd gives it mode, owner and xattrs of
//! the first layer below that has something there (`mkparent`, pkg/archive/tar.go): so they depend on the chain,
//! while a tree image belongs to a blob. The image has stand-ins (0755, root), the chunk table names the
//! directories, and a snapshot on a chain that gives them other attributes gets an image of its own:
//! [`resolve`] makes its tree.
//!
//! What is below may be one of our layers ([`lower_directory`] looks into the image that the snapshot below shows) or
//! a directory that containerd unpacked; they are asked from the top down, and the first answer counts ([`nearest`]).

use std::collections::BTreeMap;

use peel_erofs::{FileType, Image, Inode, LoadError, Metadata, ReadError, Tree, load_tree};

use crate::unpack::{
    EntryError, inherited_group,
    path::{Found, Names, walk},
};

/// Why implied directories cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ImpliedError {
    /// A tree image is damaged.
    #[error(transparent)]
    Image(#[from] ReadError),
    /// The layer's own image is damaged.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Symlinks of a lower layer lead nowhere, or the work is too much.
    #[error("path of an implied directory: {0}")]
    Path(#[from] EntryError),
    /// A directory that containerd unpacked cannot be looked at.
    #[error("directory of a layer below: {0}")]
    Below(#[from] std::io::Error),
    /// The chunk table and the tree image do not belong together.
    #[error("the index implies {0:?}, but its tree has no such directory")]
    NoDirectory(String),
}

/// What a layer below has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lower {
    /// A directory: the implied one takes its attributes.
    Directory(Metadata),
    /// Something else, a whiteout too: the implied directory keeps the stand-ins, whatever is further below.
    Other,
    /// Nothing: the next layer down is asked.
    Missing,
}

/// The first answer of layers that are asked from the top down: no later one is asked.
///
/// # Errors
/// The first error before it.
pub fn nearest(
    answers: impl IntoIterator<Item = Result<Lower, ImpliedError>>,
) -> Result<Option<Metadata>, ImpliedError> {
    for answer in answers {
        match answer? {
            Lower::Directory(metadata) => return Ok(Some(metadata)),
            Lower::Other => return Ok(None),
            Lower::Missing => {}
        }
    }
    Ok(None)
}

/// Gives the attributes of the nearest directory below the layer at a path without leading slash.
pub type Below<'a> = dyn FnMut(&[u8]) -> Result<Option<Metadata>, ImpliedError> + 'a;

/// What the layer of `image` has at `path`, symlinks of that layer followed, as containerd looks there. Takes what it
/// costs from `lookups` (a fresh snapshot has [`crate::Limits::lookups`]).
///
/// # Errors
/// The image is damaged, or the lookups are used up.
pub fn lower_directory<B: AsRef<[u8]>>(
    image: &Image<B>,
    path: &[u8],
    lookups: &mut u64,
) -> Result<Lower, ImpliedError> {
    let lower = InImage { image, root: image.inode(image.root())? };
    match walk(&lower, path.split(|&byte| byte == b'/'), lookups) {
        Ok(walk) if !walk.missing.is_empty() => Ok(Lower::Missing),
        Ok(walk) => Ok(Lower::Directory(metadata(image, &walk.directory())?)),
        // containerd's Lstat fails with something else than ENOENT; here the layer can still be served.
        Err(ImpliedError::Path(
            EntryError::ParentNotADirectory | EntryError::TooManyLinks | EntryError::PathTooLong,
        )) => Ok(Lower::Other),
        Err(error) => Err(error),
    }
}

/// The tree of a layer with its implied directories as they are on a chain, or nothing if its own image is right
/// for it. `image` is that image, `implied` its [`crate::LayerIndex::implied`]; `below` gives the attributes of the
/// nearest directory below, if there is one.
///
/// # Errors
/// [`ImpliedError`], also from `below`.
pub fn resolve<'a, B: AsRef<[u8]>>(
    image: &Image<B>,
    implied: impl Iterator<Item = &'a [u8]>,
    below: &mut Below<'_>,
) -> Result<Option<Tree>, ImpliedError> {
    let mut changes: BTreeMap<&[u8], Metadata> = BTreeMap::new();
    for path in implied {
        let inode = find(image, path)?.filter(|inode| inode.file_type() == FileType::Directory);
        let own = metadata(image, &inode.ok_or_else(|| no_directory(path))?)?;
        let wanted = match below(path)? {
            Some(lower) => Metadata { mtime: own.mtime, xattrs: merged(&own, &lower), ..lower },
            // Made in a directory that may have become setgid here (parents come first).
            None => match changes.get(parent(path)).map(inherited_group) {
                Some(group) => Metadata { gid: group.unwrap_or_default(), ..own.clone() },
                None => continue,
            },
        };
        if wanted != own {
            changes.insert(path, wanted);
        }
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let mut tree = load_tree(image)?;
    for (path, wanted) in changes {
        let components = path.split(|&byte| byte == b'/');
        let node = components.into_iter().try_fold(tree.root(), |node, name| tree.child(node, name));
        tree.set_metadata(node.ok_or_else(|| no_directory(path))?, wanted);
    }
    Ok(Some(tree))
}

/// What `path` (no leading slash) names in an image; symlinks are not followed.
///
/// # Errors
/// The image is damaged.
pub fn find<B: AsRef<[u8]>>(image: &Image<B>, path: &[u8]) -> Result<Option<Inode>, ReadError> {
    let mut inode = image.inode(image.root())?;
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        if inode.file_type() != FileType::Directory {
            return Ok(None);
        }
        let Some(entry) = image.lookup(&inode, name)? else { return Ok(None) };
        inode = image.inode(entry.nid)?;
    }
    Ok(Some(inode))
}

/// The path without its last name.
fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(&[], |slash| &path[..slash])
}

/// The lower directory's xattrs without `trusted.*`, and the implied one's own (it can only have been made opaque).
fn merged(own: &Metadata, lower: &Metadata) -> Vec<peel_erofs::Xattr> {
    let inherited = lower.xattrs.iter().filter(|xattr| {
        !xattr.name.starts_with(b"trusted.") && !own.xattrs.iter().any(|it| it.name == xattr.name)
    });
    let mut merged: Vec<_> = inherited.chain(&own.xattrs).cloned().collect();
    merged.sort_unstable();
    merged
}

fn metadata<B: AsRef<[u8]>>(image: &Image<B>, inode: &Inode) -> Result<Metadata, ReadError> {
    let mut xattrs: Vec<_> =
        image.xattrs(inode).map(|xattr| Ok(xattr?.to_xattr())).collect::<Result<_, ReadError>>()?;
    xattrs.sort_unstable();
    let (permissions, uid, gid) = (inode.permissions(), inode.uid, inode.gid);
    Ok(Metadata { permissions, uid, gid, mtime: inode.mtime, xattrs })
}

fn no_directory(path: &[u8]) -> ImpliedError {
    ImpliedError::NoDirectory(String::from_utf8_lossy(path).into_owned())
}

/// An image to walk in.
struct InImage<'a, B> {
    image: &'a Image<B>,
    root: Inode,
}

impl<B: AsRef<[u8]>> Names for InImage<'_, B> {
    type Node = Inode;
    type Error = ImpliedError;

    fn root(&self) -> Inode {
        self.root
    }

    fn look(&self, directory: Inode, name: &[u8]) -> Result<Option<Found<'_, Inode>>, ImpliedError> {
        let Some(entry) = self.image.lookup(&directory, name)? else { return Ok(None) };
        let inode = self.image.inode(entry.nid)?;
        Ok(Some(match inode.file_type() {
            FileType::Directory => Found::Directory(inode),
            FileType::Symlink => Found::Symlink(self.image.symlink_target(&inode)?),
            _ => Found::Other,
        }))
    }
}

#[cfg(test)]
mod tests;
