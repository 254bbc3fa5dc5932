//! What overlayfs will show of a chain, before anything is mounted.
//!
//! The gate fetches what containerd itself is going to read: `/etc/passwd`, `VOLUME`s. Which layer has it is known
//! without the network once the layers are readable: from trees of lazy layers and plain directories of ordinary
//! ones.
//!
//! Rules (Documentation/filesystems/overlayfs.rst): nearest layer first; a whiteout (character device 0:0)
//! hides what is below; a directory merges with those below it unless it is opaque or something else is between.

use std::{
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::PathBuf,
};

use peel_erofs::{FileType, Image, Nid};
use peel_layer::serve::TreeImage;

/// Longest chain of symbolic links that is followed; the kernel's own limit (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// One layer of a chain.
#[derive(Debug)]
pub enum Below {
    /// A lazy layer's tree image.
    Tree(Image<TreeImage>),
    /// An ordinary layer's directory.
    Directory(PathBuf),
}

/// Something in one layer.
#[derive(Debug, Clone)]
enum Place {
    Node(Nid),
    Path(PathBuf),
}

#[derive(Debug)]
enum Kind {
    Directory { opaque: bool },
    Whiteout,
    Symlink(Vec<u8>),
    Other,
}

/// A chain that cannot be read: a damaged tree image, or an ordinary layer's directory that fails.
#[derive(Debug, thiserror::Error)]
pub enum MergedError {
    /// A tree image.
    #[error("tree image is damaged: {0}")]
    Tree(#[from] peel_erofs::ReadError),
    /// A directory.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        source: std::io::Error,
    },
}

/// A regular file of the merged tree that lives in a lazy layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LazyFile {
    /// Which layer: its position in the chain, nearest first.
    pub layer: usize,
    /// Its inode there.
    pub nid: Nid,
}

/// The layers of a chain, nearest first.
#[derive(Debug)]
pub struct Merged(pub Vec<Below>);

type Stack = Vec<(usize, Place)>;

enum Found {
    Directory(Stack),
    Other(usize, Place),
    Symlink(Vec<u8>),
    Nothing,
}

impl Merged {
    /// The lazy regular files at or below the absolute `path`, whose symbolic links are followed within the root;
    /// below it they are not. Files of ordinary layers are local already and left out.
    ///
    /// # Errors
    /// [`MergedError`]; a path that does not exist is an empty list.
    pub fn files(&self, path: &[u8]) -> Result<Vec<LazyFile>, MergedError> {
        let mut files = Vec::new();
        match self.resolve(path)? {
            Found::Directory(stack) => self.collect(stack, &mut files)?,
            Found::Other(layer, Place::Node(nid)) => self.regular(layer, nid, &mut files)?,
            Found::Other(_, Place::Path(_)) | Found::Symlink(_) | Found::Nothing => {}
        }
        Ok(files)
    }

    fn root(&self) -> Stack {
        let place = |below: &Below| match below {
            Below::Tree(image) => Place::Node(image.root()),
            Below::Directory(path) => Place::Path(path.clone()),
        };
        self.0.iter().map(place).enumerate().collect()
    }

    /// Walks `path` as a process with this root would.
    fn resolve(&self, path: &[u8]) -> Result<Found, MergedError> {
        let mut links = 0;
        let mut pending: Vec<Vec<u8>> = components(path).rev().collect();
        let mut trail = vec![self.root()];
        while let Some(name) = pending.pop() {
            if name == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let Some(stack) = trail.last() else { return Ok(Found::Nothing) };
            match self.child(stack, &name)? {
                Found::Directory(stack) => trail.push(stack),
                Found::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Ok(Found::Nothing);
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    pending.extend(components(&target).rev());
                }
                found if pending.is_empty() => return Ok(found),
                _ => return Ok(Found::Nothing),
            }
        }
        Ok(trail.pop().map_or(Found::Nothing, Found::Directory))
    }

    /// What the merged directory `stack` has under `name`.
    fn child(&self, stack: &Stack, name: &[u8]) -> Result<Found, MergedError> {
        let mut directories = Stack::new();
        for (layer, place) in stack {
            let Some((place, kind)) = self.0[*layer].child(place, name)? else { continue };
            match kind {
                Kind::Directory { opaque } => {
                    directories.push((*layer, place));
                    if opaque {
                        break;
                    }
                }
                _ if !directories.is_empty() => break,
                Kind::Whiteout => return Ok(Found::Nothing),
                Kind::Symlink(target) => return Ok(Found::Symlink(target)),
                Kind::Other => return Ok(Found::Other(*layer, place)),
            }
        }
        Ok(if directories.is_empty() { Found::Nothing } else { Found::Directory(directories) })
    }

    fn collect(&self, stack: Stack, files: &mut Vec<LazyFile>) -> Result<(), MergedError> {
        let mut pending = vec![stack];
        while let Some(stack) = pending.pop() {
            let mut names = std::collections::BTreeSet::new();
            for (layer, place) in &stack {
                self.0[*layer].names(place, &mut names)?;
            }
            for name in names {
                match self.child(&stack, &name)? {
                    Found::Directory(stack) => pending.push(stack),
                    Found::Other(layer, Place::Node(nid)) => self.regular(layer, nid, files)?,
                    Found::Other(_, Place::Path(_)) | Found::Symlink(_) | Found::Nothing => {}
                }
            }
        }
        Ok(())
    }

    fn regular(&self, layer: usize, nid: Nid, files: &mut Vec<LazyFile>) -> Result<(), MergedError> {
        if let Below::Tree(image) = &self.0[layer]
            && image.inode(nid)?.file_type() == FileType::File
        {
            files.push(LazyFile { layer, nid });
        }
        Ok(())
    }
}

impl Below {
    fn child(&self, directory: &Place, name: &[u8]) -> Result<Option<(Place, Kind)>, MergedError> {
        match (self, directory) {
            (Self::Tree(image), Place::Node(nid)) => {
                let Some(entry) = image.lookup(&image.inode(*nid)?, name)? else { return Ok(None) };
                let inode = image.inode(entry.nid)?;
                let kind = match inode.file_type() {
                    FileType::Directory => Kind::Directory {
                        opaque: image
                            .xattr(&inode, b"trusted.overlay.opaque")?
                            .is_some_and(|value| value == b"y"),
                    },
                    FileType::CharDevice if inode.rdev == peel_erofs::Rdev::WHITEOUT => Kind::Whiteout,
                    FileType::Symlink => Kind::Symlink(image.symlink_target(&inode)?.to_vec()),
                    _ => Kind::Other,
                };
                Ok(Some((Place::Node(entry.nid), kind)))
            }
            (Self::Directory(_), Place::Path(directory)) => {
                let path = directory.join(std::ffi::OsStr::from_bytes(name));
                let io = |source| MergedError::Io { path: path.clone(), source };
                let metadata = match std::fs::symlink_metadata(&path) {
                    Ok(metadata) => metadata,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(io(error)),
                };
                let kind = if metadata.is_dir() {
                    let mut value = [0; 2];
                    let opaque = rustix::fs::lgetxattr(&path, "trusted.overlay.opaque", &mut value[..]);
                    Kind::Directory { opaque: opaque == Ok(1) && value[0] == b'y' }
                } else if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
                    Kind::Whiteout
                } else if metadata.is_symlink() {
                    Kind::Symlink(std::fs::read_link(&path).map_err(io)?.as_os_str().as_bytes().to_vec())
                } else {
                    Kind::Other
                };
                Ok(Some((Place::Path(path), kind)))
            }
            // A place is only ever used with the layer that it came from.
            _ => Ok(None),
        }
    }

    fn names(
        &self,
        directory: &Place,
        names: &mut std::collections::BTreeSet<Vec<u8>>,
    ) -> Result<(), MergedError> {
        match (self, directory) {
            (Self::Tree(image), Place::Node(nid)) => {
                for entry in image.read_dir(&image.inode(*nid)?, 0)? {
                    let name = entry?.name.to_vec();
                    if name != b"." && name != b".." {
                        names.insert(name);
                    }
                }
            }
            (Self::Directory(_), Place::Path(path)) => {
                let io = |source| MergedError::Io { path: path.clone(), source };
                for entry in std::fs::read_dir(path).map_err(io)? {
                    names.insert(entry.map_err(io)?.file_name().as_bytes().to_vec());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests;
