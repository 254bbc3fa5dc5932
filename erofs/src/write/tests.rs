use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::*;
use crate::{Metadata, NodeKind, Timestamp, Xattr};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn at(seconds: i64, nanoseconds: u32, permissions: u16) -> Metadata {
    Metadata { permissions, mtime: Timestamp { seconds, nanoseconds }, ..Metadata::default() }
}

fn file(size: u64, start_block: u32) -> NodeKind {
    NodeKind::File { size, start_block }
}

fn image(tree: &Tree, data_blocks: u64) -> Result<(Vec<u8>, ImageSummary), WriteError> {
    let mut bytes = Vec::new();
    let summary = write_image(tree, data_blocks, &mut bytes)?;
    assert_eq!(bytes.len() as u64, summary.size());
    Ok((bytes, summary))
}

/// The vector of the format's description, which an independent generator made and the kernel mounted.
#[test]
fn golden_vector() -> Outcome {
    let mut tree = Tree::new(at(1_700_000_002, 0, 0o755));
    let root = tree.root();
    tree.insert(root, b"d", NodeKind::Directory, at(1_700_000_001, 0, 0o755))?;
    let xattrs = vec![Xattr { name: b"user.k".to_vec(), value: b"v1".to_vec() }];
    let metadata = Metadata { uid: 1000, gid: 100, xattrs, ..at(1_700_000_000, 5, 0o644) };
    tree.insert(root, b"f", file(13, 0), metadata)?;

    let (bytes, summary) = image(&tree, 1)?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "115bd53397b892fcfce525f652dd0a4f7164a9b10dd9bf218274ed70e4283757");
    assert_eq!((summary.blocks, summary.inodes, summary.nid(root)), (1, 3, Some(Nid(40))));
    Ok(())
}

#[test]
fn what_lost_its_name_is_not_written() -> Outcome {
    let mut tree = Tree::new(Metadata::default());
    let root = tree.root();
    let directory = tree.insert(root, b"d", NodeKind::Directory, Metadata::default())?;
    let lost = tree.insert(directory, b"lost", NodeKind::Fifo, Metadata::default())?;
    let kept = tree.insert(directory, b"kept", NodeKind::Fifo, Metadata::default())?;
    tree.link(root, b"kept", kept)?;
    tree.unlink(root, b"d");
    let (_, summary) = image(&tree, 0)?;
    assert_eq!(summary.inodes, 2);
    assert_eq!(summary.nid(lost), None);
    assert!(summary.nid(kept).is_some());
    Ok(())
}

/// A root that does not fit beside the superblock goes to the next block, where its nid still is small.
#[test]
fn large_root_attributes() -> Outcome {
    for length in [2700, 3000, 60_000] {
        let xattrs = vec![Xattr { name: b"user.x".to_vec(), value: vec![1; length] }];
        let tree = Tree::new(Metadata { xattrs, ..Metadata::default() });
        let (_, summary) = image(&tree, 0)?;
        assert!(summary.nid(tree.root()).is_some_and(|nid| nid.0 < 256), "{length}");
    }
    Ok(())
}

#[test]
fn refused_nodes_name_the_problem() -> Outcome {
    let xattr = |name: &[u8], length| Xattr { name: name.to_vec(), value: vec![0; length] };
    let with = |xattrs| Metadata { xattrs, ..Metadata::default() };
    let cases: BTreeMap<&str, (NodeKind, Metadata)> = BTreeMap::from([
        ("\"system.nfs4_acl\"", (NodeKind::Fifo, with(vec![xattr(b"system.nfs4_acl", 1)]))),
        ("\"user.\"", (NodeKind::Fifo, with(vec![xattr(b"user.", 1)]))),
        ("65536 bytes", (NodeKind::Fifo, with(vec![xattr(b"user.a", 65_536)]))),
        ("twice", (NodeKind::Fifo, with(vec![xattr(b"user.a", 1), xattr(b"user.a", 2)]))),
        (
            "in all",
            (NodeKind::Fifo, with((0..5).map(|n| xattr(format!("user.{n}").as_bytes(), 65_535)).collect())),
        ),
        ("0o10644", (NodeKind::Fifo, at(0, 0, 0o10_644))),
        ("nanoseconds", (NodeKind::Fifo, at(0, 1_000_000_000, 0))),
        ("from block 7", (file(8193, 7), Metadata::default())),
        ("from block 0", (file(u64::MAX, 0), Metadata::default())),
    ]);
    for (text, (kind, metadata)) in cases {
        let mut tree = Tree::new(Metadata::default());
        let node = tree.insert(tree.root(), b"n", kind, metadata)?;
        match image(&tree, 9) {
            Err(WriteError::Node { node: culprit, problem }) => {
                assert_eq!(culprit, node);
                assert!(problem.to_string().contains(text), "{text}: {problem}");
            }
            other => return Err(format!("{text}: {other:?}").into()),
        }
    }
    Ok(())
}

#[test]
fn storable_xattrs() {
    let storable = |name: &[u8]| Xattr { name: name.to_vec(), value: Vec::new() }.is_storable();
    for name in [b"user.a".as_slice(), b"trusted.overlay.opaque", b"security.capability"] {
        assert!(storable(name));
    }
    assert!(storable(b"system.posix_acl_access") && storable(b"system.posix_acl_default"));
    for name in [b"system.posix_acl_accessx".as_slice(), b"user.", b"user", b"", b"btrfs.x"] {
        assert!(!storable(name));
    }
}

#[test]
fn a_device_has_fewer_than_2_to_the_32_blocks() -> Outcome {
    let mut tree = Tree::new(Metadata::default());
    let last = u32::MAX - 1;
    tree.insert(tree.root(), b"f", file(4096, last), Metadata::default())?;
    image(&tree, DATA_BLOCKS_MAX)?;
    let refused = image(&tree, DATA_BLOCKS_MAX + 1);
    assert!(matches!(refused, Err(WriteError::DataTooLarge(_))));
    Ok(())
}

/// An output that fails is an error, not a short image.
#[test]
fn a_full_disk_is_reported() -> Outcome {
    let tree = Tree::new(Metadata::default());
    let mut small = [0_u8; 100];
    assert!(matches!(write_image(&tree, 0, &mut small.as_mut_slice()), Err(WriteError::Output(_))));
    Ok(())
}
