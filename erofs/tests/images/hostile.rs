//! Images that are made to hurt: each is small, and would be large, endless or wrong if it were believed.

use peel_erofs::{
    Image, LoadError, Metadata, NodeId, NodeKind, ReadError, Tree, Xattr, load_tree, write_image,
};

use crate::common::Outcome;

/// A tree's image as bytes to be damaged behind the first block, which the checksum does not cover.
struct Damaged {
    bytes: Vec<u8>,
    /// By number of the node: its byte.
    offsets: Vec<usize>,
}

impl Damaged {
    fn new(tree: &Tree, nodes: &[NodeId]) -> Result<Self, Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        let summary = write_image(tree, 16, &mut bytes)?;
        let offset = |node: &NodeId| summary.nid(*node).and_then(|nid| usize::try_from(nid.0 * 32).ok());
        let offsets = nodes.iter().map(offset).collect::<Option<Vec<_>>>().ok_or("a node has no inode")?;
        assert!(offsets.iter().all(|&at| at >= 4096), "inodes under the checksum");
        Ok(Self { bytes, offsets })
    }

    fn put(&mut self, node: usize, field: usize, value: &[u8]) {
        let at = self.offsets[node] + field;
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }

    fn nid(&self, node: usize) -> [u8; 8] {
        (self.offsets[node] as u64 / 32).to_le_bytes()
    }
}

/// A tree whose root fills the first block, so that everything else lies behind it.
fn tree() -> Tree {
    let xattrs = vec![Xattr { name: b"user.filler".to_vec(), value: vec![0; 2700] }];
    Tree::new(Metadata { xattrs, ..Metadata::default() })
}

/// Offset of the tail behind an inode without xattrs.
const TAIL: usize = 64;

#[test]
fn a_directory_in_itself() -> Outcome {
    let mut tree = tree();
    let outer = tree.insert(tree.root(), b"outer", NodeKind::Directory, Metadata::default())?;
    let inner = tree.insert(outer, b"inner", NodeKind::Directory, Metadata::default())?;
    let mut image = Damaged::new(&tree, &[outer, inner])?;
    // Third dirent of `outer`, behind `.` and `..`: now itself.
    let own = image.nid(0);
    image.put(0, TAIL + 24, &own);
    assert!(matches!(load_tree(&Image::open(&image.bytes)?), Err(LoadError::DirectoryTwice(_))));
    Ok(())
}

#[test]
fn a_name_twice() -> Outcome {
    let mut tree = tree();
    let directory = tree.insert(tree.root(), b"d", NodeKind::Directory, Metadata::default())?;
    tree.insert(directory, b"a", NodeKind::Fifo, Metadata::default())?;
    tree.insert(directory, b"b", NodeKind::Fifo, Metadata::default())?;
    let mut image = Damaged::new(&tree, &[directory])?;
    // Four dirents, then the names `.`, `..`, `a`, `b`.
    image.put(0, TAIL + 4 * 12 + 4, b"a");
    assert!(matches!(load_tree(&Image::open(&image.bytes)?), Err(LoadError::Tree { .. })));
    Ok(())
}

#[test]
fn a_name_with_a_slash() -> Outcome {
    let mut tree = tree();
    let directory = tree.insert(tree.root(), b"d", NodeKind::Directory, Metadata::default())?;
    tree.insert(directory, b"a_b", NodeKind::Fifo, Metadata::default())?;
    let mut image = Damaged::new(&tree, &[directory])?;
    image.put(0, TAIL + 3 * 12 + 4, b"/");
    let image = Image::open(&image.bytes)?;
    let root = image.inode(image.root())?;
    let directory = image.inode(image.lookup(&root, b"d")?.ok_or("not found")?.nid)?;
    let listed = image.read_dir(&directory, 0)?.last();
    assert!(matches!(listed, Some(Err(ReadError::Corrupt { .. }))), "{listed:?}");
    Ok(())
}

/// Thousands of directories that share one block of names would be millions of names.
#[test]
fn directories_that_overlap() -> Outcome {
    let mut tree = tree();
    let mut nodes = Vec::new();
    for number in 0..2000 {
        let name = format!("{number:04}");
        nodes.push(tree.insert(tree.root(), name.as_bytes(), NodeKind::Directory, Metadata::default())?);
    }
    let wide = tree.insert(tree.root(), b"wide", NodeKind::Directory, Metadata::default())?;
    for number in 0..2000 {
        tree.insert(wide, format!("{number:04}").as_bytes(), NodeKind::Fifo, Metadata::default())?;
    }
    nodes.push(wide);
    let mut image = Damaged::new(&tree, &nodes)?;
    let wide = image.offsets[2000];
    let content = image.bytes[wide..wide + 20].to_vec();
    for node in 0..2000 {
        // Layout PLAIN, and size and first block of `wide`, whole blocks only.
        image.put(node, 0, &1_u16.to_le_bytes());
        image.put(node, 8, &(4096_u64 * 7).to_le_bytes());
        image.put(node, 16, &content[16..20]);
    }
    assert_eq!(load_tree(&Image::open(&image.bytes)?).err(), Some(LoadError::Overlapping));
    Ok(())
}

#[test]
fn a_file_beyond_its_device() -> Outcome {
    let mut tree = tree();
    let file = NodeKind::File { size: 4096, start_block: 15 };
    let file = tree.insert(tree.root(), b"f", file, Metadata::default())?;
    let mut image = Damaged::new(&tree, &[file])?;
    assert!(load_tree(&Image::open(&image.bytes)?).is_ok());
    image.put(0, 64 + 4, &16_u32.to_le_bytes());
    assert!(matches!(
        load_tree(&Image::open(&image.bytes)?),
        Err(LoadError::Read(ReadError::Corrupt { .. }))
    ));
    image.put(0, 64 + 4, &u32::MAX.to_le_bytes());
    let hole = load_tree(&Image::open(&image.bytes)?);
    assert!(matches!(hole, Err(LoadError::Read(ReadError::NotContiguous(_)))), "{hole:?}");
    Ok(())
}

#[test]
fn a_size_that_promises_an_endless_index() -> Outcome {
    let mut tree = tree();
    let file = NodeKind::File { size: 4096, start_block: 0 };
    let file = tree.insert(tree.root(), b"f", file, Metadata::default())?;
    let mut image = Damaged::new(&tree, &[file])?;
    image.put(0, 8, &i64::MAX.to_le_bytes());
    assert!(matches!(
        load_tree(&Image::open(&image.bytes)?),
        Err(LoadError::Read(ReadError::Corrupt { .. }))
    ));
    Ok(())
}
