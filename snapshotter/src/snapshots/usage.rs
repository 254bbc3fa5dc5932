//! Disk usage of a tree, as containerd's own snapshotters count it: blocks on disk, hard links once.
//!
//! A container writes into the tree meanwhile and may nest it deeper than a path is long: the walk keeps one
//! directory open, goes up by `..`, and stops early where the tree was moved under its feet.

use std::{collections::HashSet, ffi::CString, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat},
    io::Errno,
};

use crate::metastore::Usage;

/// `st_blocks` counts these, whatever the file system's block size (stat(2)).
const BLOCK: u64 = 512;

/// What is on disk below `root`, with `root` itself; other file systems mounted in it are left out.
///
/// # Errors
/// A directory cannot be read. What vanishes meanwhile is no error.
pub fn disk_usage(root: &Path) -> io::Result<Usage> {
    let mut at = open(rustix::fs::CWD, root)?;
    let status = fstat(&at)?;
    let mut walk = Walk { device: status.st_dev, seen: HashSet::new(), usage: Usage::default() };
    walk.count(&status);
    let mut above = vec![walk.list(&at, identity(&status))?];
    while let Some(level) = above.last_mut() {
        if let Some(name) = level.directories.pop() {
            let inner = match open(&at, name) {
                Ok(inner) => inner,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(error.into()),
            };
            let status = fstat(&inner)?;
            if status.st_dev != walk.device {
                continue;
            }
            above.push(walk.list(&inner, identity(&status))?);
            at = inner;
        } else {
            above.pop();
            let Some(level) = above.last() else { break };
            let up = open(&at, c"..")?;
            if identity(&fstat(&up)?) != level.identity {
                break;
            }
            at = up;
        }
    }
    Ok(walk.usage)
}

fn open<P: rustix::path::Arg>(at: impl std::os::fd::AsFd, path: P) -> rustix::io::Result<OwnedFd> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn identity(status: &Stat) -> (u64, u64) {
    (status.st_dev, status.st_ino)
}

/// A directory that the walk is in or below.
struct Level {
    identity: (u64, u64),
    /// Still to be visited.
    directories: Vec<CString>,
}

struct Walk {
    device: u64,
    /// Files with several names.
    seen: HashSet<u64>,
    usage: Usage,
}

impl Walk {
    fn list(&mut self, directory: &OwnedFd, identity: (u64, u64)) -> io::Result<Level> {
        let mut level = Level { identity, directories: Vec::new() };
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let status = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(status) => status,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            if status.st_dev != self.device {
                continue;
            }
            self.count(&status);
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                level.directories.push(name.to_owned());
            }
        }
        Ok(level)
    }

    fn count(&mut self, status: &Stat) {
        let directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        if !directory && status.st_nlink > 1 && !self.seen.insert(status.st_ino) {
            return;
        }
        let blocks = u64::try_from(status.st_blocks).unwrap_or(0);
        self.usage.bytes = self.usage.bytes.saturating_add(blocks.saturating_mul(BLOCK));
        self.usage.inodes = self.usage.inodes.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn counts_blocks_and_links_once() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let empty = disk_usage(root.path())?;
        assert_eq!(empty.inodes, 1);
        fs::create_dir_all(root.path().join("a/b"))?;
        fs::write(root.path().join("a/b/file"), vec![1; 100_000])?;
        fs::hard_link(root.path().join("a/b/file"), root.path().join("a/again"))?;
        std::os::unix::fs::symlink("/", root.path().join("link"))?;
        // A hole takes no space.
        fs::File::create(root.path().join("sparse"))?.set_len(1 << 30)?;
        let usage = disk_usage(root.path())?;
        assert_eq!(usage.inodes, 6);
        assert!((100_000..1 << 20).contains(&usage.bytes), "{usage:?}");
        Ok(())
    }
}
