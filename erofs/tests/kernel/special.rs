//! Trees made for what random ones hardly have.

use std::{fs::File, os::unix::fs::FileExt};

use peel_erofs::{DATA_BLOCKS_MAX, Image, Metadata, NodeKind, Rdev, Tree, Xattr};

use crate::{
    common::{Grown, Outcome},
    compare,
    mounted::{Mounted, directory},
};

fn check(tree: Tree, data_blocks: u64) -> Outcome {
    let grown = Grown { tree, data_blocks };
    let bytes = grown.image()?;
    compare::tree(&Mounted::with_data(&bytes, &grown)?, &grown.tree, &Image::open(&bytes)?)
}

#[test]
fn a_directory_of_50_000_names() -> Outcome {
    let mut tree = Tree::new(Metadata::default());
    for number in 0..50_000 {
        let name = format!("name-{:x}", number * 7919 % 50_000);
        tree.insert(tree.root(), name.as_bytes(), NodeKind::Fifo, Metadata::default())?;
    }
    check(tree, 0)
}

#[test]
fn names_that_sort_around_the_dots() -> Outcome {
    let mut tree = Tree::new(Metadata::default());
    for name in [b" ".as_slice(), b"!", b"-", b"...", b".-", b".a", b"\x01", b"\xff"] {
        tree.insert(tree.root(), name, NodeKind::Directory, Metadata::default())?;
    }
    check(tree, 0)
}

/// As layers have them: whiteout, opaque directory, file capability, ACLs, and what the format can just hold.
#[test]
fn attributes_of_layers() -> Outcome {
    let xattr = |name: &[u8], value: &[u8]| Xattr { name: name.to_vec(), value: value.to_vec() };
    let with = |permissions, xattrs| Metadata { permissions, xattrs, ..Metadata::default() };
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Version 2, then tag, permissions and id of owner, user 7, group, mask and others.
    let mut acl = vec![2, 0, 0, 0];
    for (tag, permissions, id) in
        [(1, 6, u32::MAX), (2, 4, 7), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)]
    {
        acl.extend([tag, 0, permissions, 0]);
        acl.extend(u32::to_le_bytes(id));
    }
    let mut tree = Tree::new(with(0o755, vec![xattr(b"user.root", b"r")]));
    let root = tree.root();
    let whiteout = NodeKind::CharDevice(Rdev::WHITEOUT);
    tree.insert(root, b"gone", whiteout, Metadata::default())?;
    let opaque =
        with(0o1777, vec![xattr(b"trusted.overlay.opaque", b"y"), xattr(b"system.posix_acl_default", &acl)]);
    tree.insert(root, b"opaque", NodeKind::Directory, opaque)?;
    let capable = with(0o4755, vec![xattr(b"security.capability", &capability)]);
    tree.insert(root, b"capable", NodeKind::File { size: 5, start_block: 0 }, capable)?;
    let shared = with(0o644, vec![xattr(b"system.posix_acl_access", &acl)]);
    tree.insert(root, b"shared", NodeKind::File { size: 5, start_block: 1 }, shared)?;
    let large = [b"user.a".as_slice(), b"user.b", b"user.c"].map(|name| xattr(name, &[b'v'; 65_535]));
    let file =
        tree.insert(root, b"large", NodeKind::File { size: 5, start_block: 2 }, with(0o600, large.to_vec()))?;
    tree.link(root, b"linked", file)?;
    check(tree, 3)
}

/// Files of 4 and of 9 TiB, read where their chunks meet, and one whose last block is the last of the device.
#[test]
fn huge_files() -> Outcome {
    const TIB: u64 = 1 << 40;
    let files = [(b"four", 4 * TIB, 0), (b"nine", 9 * TIB - 1, 1 << 10), (b"last", 4096, u32::MAX - 1)];
    let mut tree = Tree::new(Metadata::default());
    for (name, size, start_block) in files {
        tree.insert(tree.root(), name, NodeKind::File { size, start_block }, Metadata::default())?;
    }
    let grown = Grown { tree, data_blocks: DATA_BLOCKS_MAX };
    let bytes = grown.image()?;

    // Only as long as the marks need: ext4 ends at 16 TiB.
    let directory = directory()?;
    let data = File::create(directory.path().join("data"))?;
    let marks = [
        (b"four", 0, 0),
        (b"four", 4 * TIB - 8, 0),
        (b"nine", 8 * TIB - 4, 1 << 10),
        (b"nine", 9 * TIB - 9, 1 << 10),
    ];
    for (_, at, start_block) in marks {
        data.write_all_at(&at.to_le_bytes(), at + start_block * 4096)?;
    }
    data.set_len(10 * TIB)?;
    let mounted = Mounted::mount(directory, &bytes)?;
    for (name, at, _) in marks {
        let mut read = [0; 8];
        File::open(mounted.root.join(std::str::from_utf8(name)?))?.read_exact_at(&mut read, at)?;
        assert_eq!(u64::from_le_bytes(read), at);
    }
    let image = Image::open(&bytes)?;
    let root = image.inode(image.root())?;
    for (name, size, start_block) in files {
        let entry = image.lookup(&root, name)?.ok_or("not found")?;
        let inode = image.inode(entry.nid)?;
        assert_eq!(inode.size, size);
        assert_eq!(image.data_start(&inode)?, Some(u64::from(start_block) * 4096));
        assert_eq!(std::fs::metadata(mounted.root.join(std::str::from_utf8(name)?))?.len(), size);
    }
    Ok(())
}
