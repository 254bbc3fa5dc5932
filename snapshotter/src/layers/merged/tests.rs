//! Chains of trees and directories against what overlayfs shows.

use peel_erofs::{Metadata, NodeId, NodeKind, Rdev, Tree, Xattr, write_image};

use super::*;

/// A layer in a few words: `dir/`, `file`, `gone!` (whiteout), `opaque/=`, `link>target`. Parents first.
fn tree(entries: &[&str]) -> Below {
    let mut tree = Tree::new(Metadata::default());
    for entry in entries {
        let (path, kind, xattrs) = match entry {
            entry if entry.ends_with("/=") => {
                let opaque = Xattr { name: b"trusted.overlay.opaque".to_vec(), value: b"y".to_vec() };
                (entry.trim_end_matches("/="), NodeKind::Directory, vec![opaque])
            }
            entry if entry.ends_with('/') => (entry.trim_end_matches('/'), NodeKind::Directory, vec![]),
            entry if entry.ends_with('!') => {
                (entry.trim_end_matches('!'), NodeKind::CharDevice(Rdev::WHITEOUT), vec![])
            }
            entry => match entry.split_once('>') {
                Some((path, target)) => (path, NodeKind::Symlink(target.as_bytes().to_vec()), vec![]),
                None => (*entry, NodeKind::File { size: 1, start_block: 0 }, vec![]),
            },
        };
        let step = |node: NodeId, name: &str| tree.child(node, name.as_bytes()).unwrap();
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (parent.split('/').fold(tree.root(), step), name),
            None => (tree.root(), path),
        };
        tree.insert(parent, name.as_bytes(), kind, Metadata { xattrs, ..Metadata::default() }).unwrap();
    }
    let mut image = Vec::new();
    write_image(&tree, 1, &mut image).unwrap();
    Below::Tree(Image::open(TreeImage::new(image)).unwrap())
}

/// Layers of the files found, nearest first.
fn found(chain: &Merged, path: &str) -> Vec<usize> {
    chain.files(path.as_bytes()).unwrap().into_iter().map(|file| file.layer).collect()
}

#[test]
fn nearest_wins_and_whiteouts_hide() {
    let chain = Merged(vec![tree(&["etc/", "etc/group!"]), tree(&["etc/", "etc/passwd", "etc/group"])]);
    assert_eq!(found(&chain, "/etc/passwd"), [1]);
    assert_eq!(found(&chain, "/etc/group"), [0; 0]);
    assert_eq!(found(&chain, "/absent/file"), [0; 0]);
}

#[test]
fn directories_merge_unless_opaque_or_interrupted() {
    let below = || tree(&["data/", "data/a", "data/b"]);
    assert_eq!(found(&Merged(vec![tree(&["data/", "data/c"]), below()]), "/data"), [1, 1, 0]);
    assert_eq!(found(&Merged(vec![tree(&["data/=", "data/c"]), below()]), "/data"), [0]);
    let interrupted = Merged(vec![tree(&["data/", "data/c"]), tree(&["data!"]), below()]);
    assert_eq!(found(&interrupted, "/data"), [0]);
    assert_eq!(found(&Merged(vec![tree(&["data"]), below()]), "/data"), [0]);
}

#[test]
fn links_stay_within_the_root() {
    let chain = Merged(vec![
        tree(&[
            "var/",
            "var/data>/srv",
            "loop>loop",
            "up>../../../srv/x",
            "srv/",
            "srv/x",
            "srv/out>/etc/hosts",
        ]),
        tree(&["srv/", "srv/y"]),
    ]);
    assert_eq!(found(&chain, "/var/data"), [0, 1]);
    assert_eq!(found(&chain, "/up"), [0]);
    assert_eq!(found(&chain, "/loop"), [0; 0]);
    assert_eq!(found(&chain, "/var/../srv/./x"), [0]);
}

#[test]
fn ordinary_layers_take_part() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("etc/passwd"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", root.path().join("config")).unwrap();
    let ordinary = || Below::Directory(root.path().to_owned());
    let lazy = || tree(&["etc/", "etc/passwd", "etc/group"]);
    // Local files need not be fetched; lazy ones below an ordinary layer's directory do.
    assert_eq!(found(&Merged(vec![ordinary(), lazy()]), "/etc/passwd"), [0; 0]);
    assert_eq!(found(&Merged(vec![ordinary(), lazy()]), "/config/group"), [1]);
    assert_eq!(found(&Merged(vec![lazy(), ordinary()]), "/etc"), [0, 0]);
}
