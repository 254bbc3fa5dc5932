use super::*;
use crate::Rdev;

fn file() -> NodeKind {
    NodeKind::File { size: 1, start_block: 0 }
}

fn names(tree: &Tree, directory: NodeId) -> Vec<Vec<u8>> {
    tree.children(directory).map(|(name, _)| name.to_vec()).collect()
}

#[test]
fn children_are_sorted_by_unsigned_bytes() -> Result<(), TreeError> {
    let mut tree = Tree::new(Metadata::default());
    for name in [b"b".as_slice(), b"\xff", b"a", b"aa", b"!"] {
        tree.insert(tree.root(), name, file(), Metadata::default())?;
    }
    assert_eq!(names(&tree, tree.root()), [b"!".as_slice(), b"a", b"aa", b"b", b"\xff"]);
    Ok(())
}

#[test]
fn impossible_names_are_refused() {
    let mut tree = Tree::new(Metadata::default());
    for name in [b"".as_slice(), b".", b"..", b"a/b", b"a\0"] {
        let refused = tree.insert(tree.root(), name, file(), Metadata::default());
        assert!(matches!(refused, Err(TreeError::InvalidName(_))), "{name:?}");
    }
    let refused = tree.insert(tree.root(), &[b'x'; 256], file(), Metadata::default());
    assert_eq!(refused, Err(TreeError::NameTooLong(256)));
    assert!(tree.insert(tree.root(), &[b'x'; 255], file(), Metadata::default()).is_ok());
    assert_eq!(tree.node_count(), 2, "refused nodes leave nothing behind");
}

#[test]
fn impossible_nodes_are_refused() {
    let mut tree = Tree::new(Metadata::default());
    for target in [Vec::new(), vec![b'x'; 4096], b"a\0b".to_vec()] {
        let refused = tree.insert(tree.root(), b"s", NodeKind::Symlink(target), Metadata::default());
        assert!(matches!(refused, Err(TreeError::InvalidTarget(_))));
    }
    let device = NodeKind::CharDevice(Rdev { major: 4096, minor: 0 });
    let refused = tree.insert(tree.root(), b"c", device, Metadata::default());
    assert_eq!(refused, Err(TreeError::InvalidDevice { major: 4096, minor: 0 }));
}

#[test]
fn a_hard_link_is_a_second_name_of_one_node() -> Result<(), TreeError> {
    let mut tree = Tree::new(Metadata::default());
    let root = tree.root();
    let directory = tree.insert(root, b"d", NodeKind::Directory, Metadata::default())?;
    let original = tree.insert(root, b"f", file(), Metadata::default())?;
    tree.link(directory, b"g", original)?;
    assert_eq!(tree.child(directory, b"g"), Some(original));
    assert_eq!(tree.link(root, b"f", original), Err(TreeError::Exists("f".into())));
    assert_eq!(tree.link(root, b"e", directory), Err(TreeError::LinkToDirectory("e".into())));
    assert_eq!(tree.link(original, b"x", original), Err(TreeError::NotADirectory("x".into())));

    assert_eq!(tree.unlink(root, b"f"), Some(original));
    assert_eq!(tree.child(directory, b"g"), Some(original), "the other name stays");
    Ok(())
}

#[test]
fn unlinking_a_directory_frees_its_name() -> Result<(), TreeError> {
    let mut tree = Tree::new(Metadata::default());
    let root = tree.root();
    let old = tree.insert(root, b"d", NodeKind::Directory, Metadata::default())?;
    tree.insert(old, b"f", file(), Metadata::default())?;
    assert_eq!(tree.parent_of(old), Some(root));
    assert_eq!(tree.unlink(root, b"d"), Some(old));
    assert_eq!(tree.parent_of(old), None);
    assert_eq!(tree.unlink(root, b"d"), None);

    let new = tree.insert(root, b"d", NodeKind::Directory, Metadata::default())?;
    assert_eq!(names(&tree, new), Vec::<Vec<u8>>::new());
    assert_eq!(tree.child(new, b"f"), None);
    Ok(())
}

#[test]
fn device_numbers_survive_the_kernels_encoding() {
    for (major, minor) in [(0, 0), (1, 3), (8, 255), (8, 256), (4095, 1_048_575)] {
        let rdev = Rdev { major, minor };
        assert!(rdev.is_valid());
        assert_eq!(Rdev::decode(rdev.encode()), rdev);
    }
    assert_eq!(Rdev { major: 8, minor: 256 }.encode(), 0x0010_0800);
}
