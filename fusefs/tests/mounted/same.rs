//! What is mounted is what was written.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
};

use peel_erofs::{NodeId, NodeKind, Tree};
use rustix::{
    fs::{lgetxattr, lgetxattr_query, llistxattr, llistxattr_query},
    io::Errno,
};

use crate::{
    fixture::{Layer, everything},
    harness::{Mounted, eventually, within},
};

#[test]
fn a_tree_is_shown_as_it_was_written() {
    let mounted = Mounted::new();
    mounted.layers.add(1, everything());
    mounted.layers.add(16_777_215, everything());
    for slot in ["1", "16777215"] {
        let root = mounted.path().join(slot);
        within("comparing", move || Comparison::new(&everything()).whole(&root));
    }
}

/// Found links and inode numbers of a tree.
struct Comparison<'a> {
    layer: &'a Layer,
    names: BTreeMap<usize, u64>,
    inode_numbers: BTreeMap<usize, u64>,
}

impl<'a> Comparison<'a> {
    fn new(layer: &'a Layer) -> Self {
        let mut names = BTreeMap::new();
        count_names(&layer.tree, layer.tree.root(), &mut names);
        Self { layer, names, inode_numbers: BTreeMap::new() }
    }

    fn whole(&mut self, root: &Path) {
        self.node(self.layer.tree.root(), root);
        let different: std::collections::BTreeSet<_> = self.inode_numbers.values().collect();
        assert_eq!(different.len(), self.inode_numbers.len(), "one number, two inodes");
    }

    fn node(&mut self, node: NodeId, path: &Path) {
        let tree = &self.layer.tree;
        let expected = tree.metadata(node);
        let found = fs::symlink_metadata(path).unwrap();
        let shown = path.display();
        assert_eq!(found.mode() & 0o7777, u32::from(expected.permissions), "{shown}");
        assert_eq!((found.uid(), found.gid()), (expected.uid, expected.gid), "{shown}");
        let mtime = (expected.mtime.seconds, i64::from(expected.mtime.nanoseconds));
        assert_eq!((found.mtime(), found.mtime_nsec()), mtime, "{shown}");
        assert!(found.ino() < 1 << 53, "{shown}");
        let number = *self.inode_numbers.entry(node.index()).or_insert_with(|| found.ino());
        assert_eq!(number, found.ino(), "{shown}: names of one inode");
        assert!(xattrs(path) == sorted_xattrs(tree, node), "{shown} has other xattrs");
        self.content(node, path, &found);
        if !found.is_dir() {
            assert_eq!(found.nlink(), self.names[&node.index()], "{shown}");
        }
    }

    fn content(&mut self, node: NodeId, path: &Path, found: &fs::Metadata) {
        let (kind, shown) = (found.file_type(), path.display());
        match self.layer.tree.kind(node) {
            NodeKind::Directory => self.directory(node, path, found),
            NodeKind::File { size, start_block } => {
                let size = usize::try_from(*size).unwrap();
                let start = *start_block as usize * 4096;
                assert_eq!(found.len(), size as u64, "{shown}");
                let bytes = fs::read(path).unwrap();
                assert!(bytes == self.layer.data[start..start + size], "{shown} has other bytes");
            }
            NodeKind::Symlink(target) => {
                assert_eq!(fs::read_link(path).unwrap().as_os_str().as_bytes(), target, "{shown}");
            }
            NodeKind::CharDevice(rdev) | NodeKind::BlockDevice(rdev) => {
                let device = found.rdev();
                let found = (rustix::fs::major(device), rustix::fs::minor(device));
                assert_eq!(found, (rdev.major, rdev.minor), "{shown}");
                assert!(kind.is_char_device() || kind.is_block_device(), "{shown}");
            }
            NodeKind::Fifo => assert!(kind.is_fifo(), "{shown}"),
            NodeKind::Socket => assert!(kind.is_socket(), "{shown}"),
        }
    }

    fn directory(&mut self, node: NodeId, path: &Path, found: &fs::Metadata) {
        let tree = &self.layer.tree;
        let mut listed: BTreeMap<Vec<u8>, fs::FileType> = BTreeMap::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let before = listed.insert(entry.file_name().as_bytes().to_vec(), kind);
            assert!(before.is_none(), "{} is listed twice", entry.path().display());
        }
        let expected: Vec<_> = tree.children(node).map(|(name, _)| name.to_vec()).collect();
        assert_eq!(listed.keys().cloned().collect::<Vec<_>>(), expected, "{}", path.display());
        let mut directories = 0;
        for (name, child) in tree.children(node) {
            let path = path.join(std::ffi::OsStr::from_bytes(name));
            directories += u64::from(*tree.kind(child) == NodeKind::Directory);
            assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), listed[name], "{}", path.display());
            self.node(child, &path);
        }
        assert_eq!(found.nlink(), 2 + directories, "{}", path.display());
    }
}

fn count_names(tree: &Tree, directory: NodeId, names: &mut BTreeMap<usize, u64>) {
    for (_, child) in tree.children(directory) {
        *names.entry(child.index()).or_default() += 1;
        if *tree.kind(child) == NodeKind::Directory {
            count_names(tree, child, names);
        }
    }
}

fn sorted_xattrs(tree: &Tree, node: NodeId) -> BTreeMap<Vec<u8>, Vec<u8>> {
    tree.metadata(node).xattrs.iter().map(|it| (it.name.clone(), it.value.clone())).collect()
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let length = llistxattr_query(path).unwrap();
    let mut names = vec![0; length];
    assert_eq!(llistxattr(path, &mut names[..]).unwrap(), length);
    names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let length = lgetxattr_query(path, name).unwrap();
            let mut value = vec![0; length];
            assert_eq!(lgetxattr(path, name, &mut value[..]).unwrap(), length);
            (name.to_vec(), value)
        })
        .collect()
}

#[test]
fn xattrs_answer_as_on_any_filesystem() {
    let mounted = Mounted::new();
    mounted.layers.add(1, everything());
    let tmp = mounted.path().join("1/tmp");
    assert_eq!(lgetxattr(&tmp, "user.none", &mut [0; 9]), Err(Errno::NODATA));
    assert_eq!(lgetxattr(&tmp, "user.long", &mut [0; 9]), Err(Errno::RANGE));
    assert_eq!(llistxattr(&tmp, &mut [0_u8; 3]), Err(Errno::RANGE));
    assert_eq!(lgetxattr(mounted.path(), "user.none", &mut [0; 9]), Err(Errno::NODATA));
}

#[test]
fn the_root_follows_its_slots() {
    let mounted = Mounted::new();
    let listed = || {
        let list = fs::read_dir(mounted.path()).unwrap();
        let mut names: Vec<_> = list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    // Slots that have no node ids.
    mounted.layers.add(0, everything());
    mounted.layers.add(1 << 24, everything());
    assert!(listed().is_empty());
    for wrong in ["1", "01", "+1", "x", "0", "99999999999", "16777216"] {
        assert_eq!(fs::metadata(mounted.path().join(wrong)).unwrap_err().raw_os_error(), Some(2), "{wrong}");
    }
    mounted.layers.add(1, everything());
    mounted.layers.add(12, everything());
    fs::metadata(mounted.path().join("1")).expect("that it was missing is not remembered");
    eventually("new slots are listed", || listed() == ["1", "12"]);
    mounted.layers.remove(1);
    eventually("a removed one is not", || listed() == ["12"]);
    // Who is shown this path from within finds the way back.
    let up = fs::metadata(mounted.path().join("12/..")).unwrap();
    assert_eq!(up.ino(), 1);
}

#[test]
fn the_data_file_is_the_data() {
    let mounted = Mounted::new();
    let layer = everything();
    let expected = layer.data.clone();
    mounted.layers.add(3, layer);
    let found = fs::read(mounted.path().join("3.data")).unwrap();
    assert!(found == expected);
}

#[test]
fn nothing_can_be_written() {
    let mounted = Mounted::new();
    mounted.layers.add(1, everything());
    let root = mounted.path().join("1");
    let errors = [
        fs::write(root.join("new"), b"").unwrap_err(),
        fs::write(root.join("one"), b"").unwrap_err(),
        fs::create_dir(root.join("new")).unwrap_err(),
        fs::remove_file(root.join("one")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
}
