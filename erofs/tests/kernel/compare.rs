//! Node by node: what the kernel shows, what the reader reads and what the tree has are the same.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    ffi::OsStr,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use peel_erofs::{FileType, Image, Inode, NodeId, NodeKind, Rdev, Tree};
use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{
    common::{Outcome, links},
    mounted::{Mounted, content},
};

/// Compares all of a mounted image with the tree that it was written from. Files of a hole-less data device have
/// the bytes of [`content`].
pub(crate) fn tree(mounted: &Mounted, tree: &Tree, image: &Image<&Vec<u8>>) -> Outcome {
    let links = links(tree);
    let comparison = Comparison { tree, image, links };
    let root = open(rustix::fs::CWD, mounted.root.as_os_str().as_bytes(), OFlags::DIRECTORY)?;
    comparison.directory(&root, tree.root(), &image.inode(image.root())?)?;
    // The kernel counts inodes down from the largest number.
    let stat = rustix::fs::statfs(&mounted.root)?;
    let blocks = u64::from(image.blocks()) + u64::from(image.data_blocks());
    assert_eq!((stat.f_blocks, stat.f_files - stat.f_ffree), (blocks, image.inodes()));
    Ok(())
}

struct Comparison<'a> {
    tree: &'a Tree,
    image: &'a Image<&'a Vec<u8>>,
    links: HashMap<NodeId, u32>,
}

impl Comparison<'_> {
    /// Compares an open directory and everything below.
    fn directory(&self, directory: &OwnedFd, node: NodeId, inode: &Inode) -> Outcome {
        self.node(directory, b".", node, inode)?;
        let mut listed = BTreeMap::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let before =
                listed.insert(entry.file_name().to_bytes().to_vec(), (entry.ino(), entry.file_type()));
            assert_eq!(before, None, "a name twice");
        }
        for dots in [b".".as_slice(), b".."] {
            assert!(listed.remove(dots).is_some());
        }
        assert_eq!(listed.len(), self.tree.children(node).count());

        for (name, child) in self.tree.children(node) {
            let found = self.image.lookup(inode, name)?.ok_or("the reader does not find it")?;
            let inode = self.image.inode(found.nid)?;
            let listed = listed.get(name).ok_or("the kernel does not list it")?;
            assert_eq!(*listed, (found.nid.0, kernel_type(found.file_type)));
            if *self.tree.kind(child) == NodeKind::Directory {
                self.directory(&open(directory, name, OFlags::DIRECTORY)?, child, &inode)?;
            } else {
                self.node(directory, name, child, &inode)?;
            }
        }
        let absent = rustix::fs::statat(directory, OsStr::from_bytes(b"absent"), AtFlags::SYMLINK_NOFOLLOW);
        assert_eq!(absent.err(), Some(Errno::NOENT));
        Ok(())
    }

    fn node(&self, directory: &OwnedFd, name: &[u8], node: NodeId, inode: &Inode) -> Outcome {
        let text = String::from_utf8_lossy(name);
        let stat = rustix::fs::statat(directory, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| format!("stat of {text}: {error}"))?;
        self.assert_stat(&stat, node, inode)?;
        self.assert_xattrs(directory, name, node).map_err(|error| format!("xattrs of {text}: {error}"))?;
        match self.tree.kind(node) {
            NodeKind::Symlink(target) => {
                let read = rustix::fs::readlinkat(directory, OsStr::from_bytes(name), Vec::new())?;
                assert_eq!(read.to_bytes(), target);
            }
            &NodeKind::File { size, start_block } if size < 1 << 24 => {
                let mut file = std::fs::File::from(open(directory, name, OFlags::empty())?);
                let mut read = Vec::new();
                std::io::Read::read_to_end(&mut file, &mut read)?;
                assert!(read == content(size, start_block), "{text}: content");
            }
            _ => {}
        }
        Ok(())
    }

    fn assert_stat(&self, stat: &Stat, node: NodeId, inode: &Inode) -> Outcome {
        let metadata = self.tree.metadata(node);
        let kind = self.tree.kind(node);
        assert_eq!(stat.st_ino, inode.nid.0);
        assert_eq!(stat.st_mode, u32::from(FileType::from(kind).mode_bits() | metadata.permissions));
        assert_eq!((stat.st_uid, stat.st_gid), (metadata.uid, metadata.gid));
        assert_eq!(stat.st_nlink, u64::from(self.links[&node]));
        let time = (metadata.mtime.seconds, u64::from(metadata.mtime.nanoseconds));
        assert_eq!((stat.st_mtime, stat.st_mtime_nsec), time);
        assert_eq!((stat.st_ctime, stat.st_ctime_nsec), time);
        assert_eq!((stat.st_atime, stat.st_atime_nsec), time);
        assert_eq!(u64::try_from(stat.st_size)?, inode.size);
        match kind {
            NodeKind::File { size, .. } => assert_eq!(inode.size, *size),
            NodeKind::Symlink(target) => assert_eq!(inode.size, target.len() as u64),
            NodeKind::CharDevice(rdev) | NodeKind::BlockDevice(rdev) => {
                let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                assert_eq!(Rdev { major, minor }, *rdev);
            }
            _ => {}
        }
        Ok(())
    }

    fn assert_xattrs(&self, directory: &OwnedFd, name: &[u8], node: NodeId) -> Outcome {
        let path = [format!("/proc/self/fd/{}/", directory.as_raw_fd()).as_bytes(), name].concat();
        let path = OsStr::from_bytes(&path);
        let mut buffer = vec![0; 1 << 16];
        let length = rustix::fs::llistxattr(path, &mut buffer)?;
        let listed: Vec<&[u8]> =
            buffer[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
        let expected = &self.tree.metadata(node).xattrs;
        assert_eq!(listed, expected.iter().map(|it| it.name.as_slice()).collect::<Vec<_>>());

        let mut value = vec![0; 1 << 16];
        for xattr in expected {
            let read = rustix::fs::lgetxattr(path, OsStr::from_bytes(&xattr.name), &mut value);
            let plain = matches!(self.tree.kind(node), NodeKind::File { .. } | NodeKind::Directory);
            if xattr.name.starts_with(b"user.") && !plain {
                // The VFS has them on files and directories only.
                assert_eq!(read, Err(Errno::NODATA));
            } else {
                assert_eq!(value[..read?], xattr.value);
            }
        }
        Ok(())
    }
}

fn open(at: impl AsFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Box<dyn Error>> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, OsStr::from_bytes(name), flags, Mode::empty())?)
}

fn kernel_type(file_type: FileType) -> rustix::fs::FileType {
    use rustix::fs::FileType as Kernel;
    match file_type {
        FileType::File => Kernel::RegularFile,
        FileType::Directory => Kernel::Directory,
        FileType::CharDevice => Kernel::CharacterDevice,
        FileType::BlockDevice => Kernel::BlockDevice,
        FileType::Fifo => Kernel::Fifo,
        FileType::Socket => Kernel::Socket,
        FileType::Symlink => Kernel::Symlink,
    }
}
