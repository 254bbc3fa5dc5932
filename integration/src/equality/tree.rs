//! A tree as its reader sees it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::xattrs::read_xattrs;

/// Everything below one directory, by path relative to it; the directory itself is the empty path.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) nodes: BTreeMap<Vec<u8>, Node>,
}

/// What is at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Type, and what only this type has.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// `st_size`.
    pub size: u64,
    /// `st_nlink`.
    pub nlink: u64,
    /// The first path, in the order of the tree, of those that are the same file as this one: itself when it has
    /// no other name. Directories always name themselves.
    pub linked_to: Vec<u8>,
    /// Extended attributes of all namespaces.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Type of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file and the sha256 of its content.
    File([u8; 32]),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device and its `st_rdev`.
    CharDevice(u64),
    /// A block device and its `st_rdev`.
    BlockDevice(u64),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Seconds since 1970 and nanoseconds on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after them.
    pub nanoseconds: i64,
}

impl Tree {
    /// Reads everything below `root`, contents included.
    ///
    /// # Errors
    /// Whatever cannot be read, with its path: an unreadable file is a finding, not something to skip.
    pub fn read(root: &Path) -> Result<Self> {
        let mut reader = Reader { nodes: BTreeMap::new(), first_names: HashMap::new() };
        // Depth without recursion: images hold paths deeper than a test thread's stack likes.
        let mut pending = vec![(root.to_owned(), Vec::new())];
        while let Some((path, name)) = pending.pop() {
            reader.visit(&path, name, &mut pending).with_context(|| format!("reading {}", path.display()))?;
        }
        reader.link_to_first_names();
        Ok(Self { nodes: reader.nodes })
    }

    /// Paths and nodes, sorted by path.
    pub fn nodes(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_slice(), node))
    }

    /// What is at a path relative to the root.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path.as_bytes())
    }
}

struct Reader {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// All names of every inode that has several.
    first_names: HashMap<(u64, u64), Vec<Vec<u8>>>,
}

impl Reader {
    fn visit(&mut self, path: &Path, name: Vec<u8>, pending: &mut Vec<(PathBuf, Vec<u8>)>) -> Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = kind_of(path, &metadata)?;
        if kind == Kind::Directory {
            for entry in fs::read_dir(path)? {
                let entry = entry?.file_name();
                let separator: &[u8] = if name.is_empty() { b"" } else { b"/" };
                pending.push((path.join(&entry), [&name, separator, entry.as_bytes()].concat()));
            }
        } else if metadata.nlink() > 1 {
            self.first_names.entry((metadata.dev(), metadata.ino())).or_default().push(name.clone());
        }
        let node = Node {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: Time { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() },
            size: metadata.size(),
            nlink: metadata.nlink(),
            linked_to: name.clone(),
            xattrs: read_xattrs(path)?,
        };
        self.nodes.insert(name, node);
        Ok(())
    }

    fn link_to_first_names(&mut self) {
        for names in self.first_names.values() {
            let Some(first) = names.iter().min() else { continue };
            for name in names {
                if let Some(node) = self.nodes.get_mut(name) {
                    node.linked_to.clone_from(first);
                }
            }
        }
    }
}

fn kind_of(path: &Path, metadata: &fs::Metadata) -> Result<Kind> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File(hash(path)?)
    } else if kind.is_symlink() {
        Kind::Symlink(fs::read_link(path)?.as_os_str().as_bytes().to_vec())
    } else if kind.is_char_device() {
        Kind::CharDevice(metadata.rdev())
    } else if kind.is_block_device() {
        Kind::BlockDevice(metadata.rdev())
    } else if kind.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Socket
    })
}

/// sha256 of a file's content.
fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..read]);
    }
}
