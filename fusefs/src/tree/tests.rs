//! Trees without a mount.

use peel_erofs::{Metadata, NodeKind, Rdev, Tree as Written, write_image};

use super::*;
use crate::node::Node;

const SLOT: Slot = Slot(5);

fn tree() -> Tree {
    let mut tree = Written::new(Metadata { permissions: 0o755, ..Metadata::default() });
    let root = tree.root();
    let plain = || Metadata { permissions: 0o640, uid: 7, ..Metadata::default() };
    tree.insert(root, b"file", NodeKind::File { size: 5000, start_block: 3 }, plain()).expect("fits");
    tree.insert(root, b"empty", NodeKind::File { size: 0, start_block: 0 }, plain()).expect("fits");
    tree.insert(root, b"link", NodeKind::Symlink(b"file".to_vec()), plain()).expect("fits");
    let directory = tree.insert(root, b"d", NodeKind::Directory, plain()).expect("fits");
    tree.insert(directory, b"null", NodeKind::CharDevice(Rdev { major: 1, minor: 3 }), plain())
        .expect("fits");
    for number in 0..1000 {
        tree.insert(directory, format!("{number:04}").as_bytes(), NodeKind::Fifo, plain()).expect("fits");
    }
    let mut image = Vec::new();
    write_image(&tree, 10, &mut image).expect("can be written");
    Tree::open(SLOT, TreeImage::new(image)).expect("is an image")
}

fn inode(tree: &Tree, name: &[u8]) -> Inode {
    let root = tree.root().expect("has a root");
    let found = tree.lookup(&root, name).expect("is sound").expect("is there");
    match NodeId::from(found.ino.0).node() {
        Some(Node::Inode { slot: SLOT, nid }) => tree.inode(nid).expect("exists"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_and_attributes() {
    let tree = tree();
    let root = tree.root().expect("has a root");
    assert_eq!(tree.lookup(&root, b"none").expect("is sound"), None);
    let file = tree.attributes(&inode(&tree, b"file")).expect("has an id");
    assert_eq!((file.perm, file.uid, file.size, file.blocks, file.nlink), (0o640, 7, 5000, 16, 1));
    assert_eq!(tree.target(&inode(&tree, b"link")).expect("is a link"), b"file");
    assert!(matches!(tree.target(&inode(&tree, b"file")), Err(Failure::Damaged(_))));
    let null = tree.lookup(&inode(&tree, b"d"), b"null").expect("is sound").expect("is there");
    assert_eq!((null.kind, null.rdev), (fuser::FileType::CharDevice, 0x103));
    assert!(tree.inode(0).is_err() && tree.inode(1 << 28).is_err());
}

#[test]
fn listings_go_on_where_they_stopped() {
    let tree = tree();
    let directory = inode(&tree, b"d");
    let list = |room: usize| {
        let (mut names, mut from) = (Vec::new(), 0);
        loop {
            let (mut left, start) = (room, from);
            let mut take = |entry: &Entry<'_>| {
                if left == 0 {
                    return false;
                }
                left -= 1;
                names.push((entry.name.to_vec(), entry.attributes.ino));
                from = entry.next;
                true
            };
            tree.list(&directory, start, Detail::Attributes, &mut take).expect("is sound");
            if left > 0 {
                return names;
            }
        }
    };
    let whole = list(usize::MAX);
    assert_eq!(whole.len(), 1003);
    assert_eq!(list(1), whole);
    assert_eq!(list(7), whole);
}

#[test]
fn above_a_tree_is_the_root_of_all() {
    let tree = tree();
    let root = tree.root().expect("has a root");
    let mut dots = Vec::new();
    let mut take = |entry: &Entry<'_>| {
        if entry.name.starts_with(b".") {
            dots.push((entry.name.to_vec(), NodeId::from(entry.attributes.ino.0)));
        }
        true
    };
    tree.list(&root, 0, Detail::Names, &mut take).expect("is sound");
    let own = tree.root_id().expect("has an id");
    assert_eq!(dots, [(b".".to_vec(), own), (b"..".to_vec(), NodeId::ROOT)]);
}

#[test]
fn bytes_lie_where_the_image_says() {
    let tree = tree();
    let at = |offset, size| tree.extent(&inode(&tree, b"file"), offset, size).expect("is a file");
    let data = |start, length| Extent::Data {
        range: DataOffset(start).span(length),
        length: usize::try_from(length).expect("is small"),
    };
    assert_eq!(at(0, 4096), data(12_288, 4096));
    assert_eq!(at(4096, 4096), data(16_384, 904));
    assert_eq!(at(4999, u32::MAX), data(17_287, 1));
    for offset in [5000, u64::MAX] {
        assert_eq!(at(offset, 4096), Extent::Zeros(0));
    }
    assert_eq!(tree.extent(&inode(&tree, b"empty"), 0, 10).expect("is a file"), Extent::Zeros(0));
    assert!(matches!(tree.extent(&inode(&tree, b"d"), 0, 10), Err(Failure::WrongKind)));
    assert_eq!(Extent::of_data(DataOffset(40_960), 40_000, 4096), data(40_000, 960));
    assert_eq!(Extent::cut(None, 100, 90, 20), Extent::Zeros(10), "a hole");
}
