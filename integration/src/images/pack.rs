//! Turns directories of this machine into layers: a whole tree, or the upper directory of an overlay mount, whose
//! whiteouts and opaque directories become those of the image format.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{major, minor};

use super::content::Content;
use super::entry::{Entry, EntryKind, Mtime};
use crate::equality::xattrs::read_xattrs;

/// The mark that overlayfs puts on an opaque directory.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// Overlayfs' own xattrs say how an upper directory is built and are no content.
const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";

/// All entries below `root`, parents before children, names sorted. Overlayfs' whiteouts and opaque directories
/// are translated. Sockets are left out: tar has no type for them.
///
/// # Errors
/// When something below `root` cannot be read.
pub fn pack(root: &Path) -> Result<Vec<Entry>> {
    let mut packer = Packer { entries: Vec::new(), links: HashMap::new() };
    packer.directory(root, "")?;
    Ok(packer.entries)
}

struct Packer {
    entries: Vec<Entry>,
    /// First name of every file that has several, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Packer {
    fn directory(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        let mut names = fs::read_dir(directory)
            .and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
            })
            .with_context(|| format!("cannot list {}", directory.display()))?;
        names.sort();
        for name in names {
            let path = directory.join(&name);
            // Roots of Debian and of pip packages have UTF-8 names only.
            let name = name.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            self.child(&path, &format!("{prefix}{name}"))
                .with_context(|| format!("cannot pack {}", path.display()))?;
        }
        Ok(())
    }

    fn child(&mut self, path: &Path, name: &str) -> Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = metadata.file_type();
        let xattrs = read_xattrs(path)?;
        let rdev = metadata.rdev();
        if kind.is_char_device() && rdev == 0 {
            self.entries.push(Entry::whiteout(name));
            return Ok(());
        }
        let kind = if kind.is_dir() {
            EntryKind::Directory
        } else if kind.is_symlink() {
            EntryKind::Symlink(fs::read_link(path)?.as_os_str().as_bytes().to_vec())
        } else if kind.is_char_device() {
            EntryKind::CharDevice { major: major(rdev), minor: minor(rdev) }
        } else if kind.is_block_device() {
            EntryKind::BlockDevice { major: major(rdev), minor: minor(rdev) }
        } else if kind.is_fifo() {
            EntryKind::Fifo
        } else if kind.is_file() {
            self.file(path, name, &metadata)
        } else {
            return Ok(());
        };
        let mut entry = Entry::new(name, kind).mode(metadata.mode() & 0o7777);
        entry.uid = metadata.uid().into();
        entry.gid = metadata.gid().into();
        // Whole seconds, cut off, as Docker, BuildKit and containerd write them. The table of contents of an eStargz
        // layer rounds instead: with fractions, half of the `.pyc` files would not fit their sources any more, and
        // Python would compile anew at each start.
        entry.mtime = Mtime { seconds: metadata.mtime(), nanoseconds: 0 };
        let opaque = xattrs.get(OPAQUE).is_some_and(|value| value == b"y");
        entry.xattrs = xattrs.into_iter().filter(|(key, _)| !key.starts_with(OVERLAY_PREFIX)).collect();
        let directory = matches!(entry.kind, EntryKind::Directory);
        self.entries.push(entry);
        if opaque {
            self.entries.push(Entry::opaque(name));
        }
        if directory {
            self.directory(path, &format!("{name}/"))?;
        }
        Ok(())
    }

    /// A file, or a link to an earlier name of it.
    fn file(&mut self, path: &Path, name: &str, metadata: &fs::Metadata) -> EntryKind {
        let content = Content::Host { path: path.to_owned(), length: metadata.len() };
        if metadata.nlink() == 1 {
            return EntryKind::File(content);
        }
        let inode = (metadata.dev(), metadata.ino());
        match self.links.get(&inode) {
            Some(first) => EntryKind::HardLink(first.clone()),
            None => {
                self.links.insert(inode, name.as_bytes().to_vec());
                EntryKind::File(content)
            }
        }
    }
}
