//! What the writer writes, the reader reads.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
};

use peel_erofs::{FileType, Image, Inode, NodeId, NodeKind, Rdev, Tree, load_tree};

use crate::common::{Gardener, Outcome, links, paths};

#[test]
fn random_trees_come_back() -> Outcome {
    for seed in 0..60 {
        let grown = Gardener::new(seed).grow(20 * usize::try_from(seed)?, 1 << 20)?;
        let bytes = grown.image()?;
        let image = Image::open(&bytes)?;
        assert_eq!(u64::from(image.data_blocks()), grown.data_blocks);
        assert_eq!(u64::from(image.blocks()) * 4096, bytes.len() as u64);

        let loaded = load_tree(&image)?;
        assert_same(&grown.tree, &loaded);
        let mut again = Vec::new();
        peel_erofs::write_image(&loaded, grown.data_blocks, &mut again)?;
        assert!(bytes == again, "seed {seed}: an image of the loaded tree differs");
    }
    Ok(())
}

#[test]
fn every_name_is_found_and_every_inode_is_right() -> Outcome {
    for seed in 100..120 {
        let grown = Gardener::new(seed).grow(800, 1 << 33)?;
        let bytes = grown.image()?;
        let image = Image::open(&bytes)?;
        let links = links(&grown.tree);
        assert_eq!(image.inodes(), links.len() as u64);
        for (path, node) in paths(&grown.tree) {
            let inode = walk(&image, &path)?;
            assert_eq!(inode.nlink, links[&node], "{}", String::from_utf8_lossy(&path));
            assert_inode(&image, &inode, &grown.tree, node)?;
        }
    }
    Ok(())
}

/// From the root to a path, by lookups.
fn walk(image: &Image<&Vec<u8>>, path: &[u8]) -> Result<Inode, Box<dyn Error>> {
    let mut inode = image.inode(image.root())?;
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        let entry = image.lookup(&inode, name)?.ok_or("not found")?;
        assert_eq!(entry.name, name);
        inode = image.inode(entry.nid)?;
        assert_eq!(entry.file_type, inode.file_type());
    }
    Ok(inode)
}

fn assert_inode(image: &Image<&Vec<u8>>, inode: &Inode, tree: &Tree, node: NodeId) -> Outcome {
    let metadata = tree.metadata(node);
    assert_eq!(inode.permissions(), metadata.permissions);
    assert_eq!((inode.uid, inode.gid, inode.mtime), (metadata.uid, metadata.gid, metadata.mtime));
    let xattrs = image.xattrs(inode).map(|it| it.map(|it| it.to_xattr())).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(xattrs, metadata.xattrs);
    for xattr in &xattrs {
        assert_eq!(image.xattr(inode, &xattr.name)?, Some(xattr.value.as_slice()));
    }
    assert_eq!(image.xattr(inode, b"user.")?, None);

    let kind = tree.kind(node);
    assert_eq!(inode.file_type(), FileType::from(kind));
    assert_eq!(inode.mode, inode.file_type().mode_bits() | metadata.permissions);
    match kind {
        NodeKind::File { size, start_block } => {
            assert_eq!(inode.size, *size);
            let start = (*size > 0).then_some(u64::from(*start_block) * 4096);
            assert_eq!(image.data_start(inode)?, start);
        }
        NodeKind::Symlink(target) => {
            assert_eq!(inode.size, target.len() as u64);
            assert_eq!(image.symlink_target(inode)?, target);
        }
        NodeKind::CharDevice(rdev) | NodeKind::BlockDevice(rdev) => assert_eq!(inode.rdev, *rdev),
        NodeKind::Directory => assert_listing(image, inode, tree, node)?,
        NodeKind::Fifo | NodeKind::Socket => assert_eq!((inode.size, inode.rdev), (0, Rdev::default())),
    }
    Ok(())
}

/// A directory lists its names in order, from the start and from every position.
fn assert_listing(image: &Image<&Vec<u8>>, inode: &Inode, tree: &Tree, node: NodeId) -> Outcome {
    let listed = image.read_dir(inode, 0)?.collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&[u8]> = listed.iter().map(|entry| entry.name).collect();
    let mut expected: Vec<&[u8]> = tree.children(node).map(|(name, _)| name).collect();
    expected.extend([b".".as_slice(), b".."]);
    expected.sort_unstable();
    assert_eq!(names, expected);

    for (number, entry) in listed.iter().enumerate() {
        let rest = image.read_dir(inode, entry.next)?.collect::<Result<Vec<_>, _>>()?;
        assert_eq!(rest, listed[number + 1..]);
        // A name right before and right behind an existing one.
        for absent in [[entry.name, b"\0"].concat(), entry.name[..entry.name.len() - 1].to_vec()] {
            let found = image.lookup(inode, &absent)?.map(|it| it.name.to_vec());
            assert_eq!(found, names.contains(&absent.as_slice()).then_some(absent));
        }
    }
    let own = image.lookup(inode, b".")?.map(|it| it.nid);
    assert_eq!(own, Some(inode.nid));
    Ok(())
}

/// Names that fill blocks in every way, and many of them.
#[test]
fn large_directories() -> Outcome {
    for length in [1_usize, 2, 20, 100, 254, 255] {
        let mut tree = Tree::new(peel_erofs::Metadata::default());
        for number in 0..3000_u32 {
            let mut name = format!("{number:x}").into_bytes();
            name.resize(length.max(name.len()), b'-');
            tree.insert(tree.root(), &name, NodeKind::Fifo, peel_erofs::Metadata::default())?;
            // The last block goes through every fill.
            if number % 7 == 0 || number < 300 {
                let mut bytes = Vec::new();
                peel_erofs::write_image(&tree, 0, &mut bytes)?;
                let image = Image::open(&bytes)?;
                let root = image.inode(image.root())?;
                assert_eq!(image.read_dir(&root, 0)?.count(), tree.node_count() - 1 + 2);
                assert!(image.lookup(&root, &name)?.is_some());
            }
        }
    }
    Ok(())
}

/// Fails unless both have the same names of the same nodes.
fn assert_same(left: &Tree, right: &Tree) {
    let (left_paths, right_paths) = (paths(left), paths(right));
    assert_eq!(left_paths.len(), right_paths.len());
    let mut twins = HashMap::new();
    for ((left_path, left_node), (right_path, right_node)) in left_paths.iter().zip(&right_paths) {
        let path = String::from_utf8_lossy(left_path);
        assert_eq!(left_path, right_path, "{path}");
        assert_eq!(twins.entry(*left_node).or_insert(*right_node), right_node, "{path}: hard links");
        assert_eq!(left.metadata(*left_node), right.metadata(*right_node), "{path}");
        match (left.kind(*left_node), right.kind(*right_node)) {
            // An empty file has no place.
            (NodeKind::File { size: 0, .. }, NodeKind::File { size: 0, .. }) => {}
            (left, right) => assert_eq!(left, right, "{path}"),
        }
    }
    let distinct: HashSet<_> = twins.values().collect();
    assert_eq!(distinct.len(), twins.len(), "hard links where there were none");
}
