//! Layers to look at.

use bytes::Bytes;
use peel_erofs::{Metadata, NodeId, NodeKind, Rdev, Timestamp, Tree, Xattr, write_image};

/// A tree, its image, and the data file behind it.
pub(crate) struct Layer {
    pub(crate) tree: Tree,
    pub(crate) image: Bytes,
    pub(crate) data: Vec<u8>,
}

/// Puts a layer together.
pub(crate) struct Builder {
    tree: Tree,
    data: Vec<u8>,
    made: u32,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { tree: Tree::new(metadata(0o755, 0)), data: Vec::new(), made: 0 }
    }

    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> NodeId {
        let start_block = u32::try_from(self.data.len() / 4096).unwrap();
        self.data.extend_from_slice(content);
        self.data.resize(self.data.len().next_multiple_of(4096), 0);
        self.add(path, NodeKind::File { size: content.len() as u64, start_block })
    }

    /// With an mtime and an owner of its own each.
    pub(crate) fn add(&mut self, path: &str, kind: NodeKind) -> NodeId {
        self.made += 1;
        let permissions = if matches!(kind, NodeKind::Symlink(_)) { 0o777 } else { 0o755 };
        let (parent, name) = self.split(path);
        self.tree.insert(parent, name.as_bytes(), kind, metadata(permissions, self.made)).unwrap()
    }

    pub(crate) fn directory(&mut self, path: &str) -> NodeId {
        self.add(path, NodeKind::Directory)
    }

    pub(crate) fn whiteout(&mut self, path: &str) {
        self.add(path, NodeKind::CharDevice(Rdev::WHITEOUT));
    }

    pub(crate) fn link(&mut self, path: &str, target: NodeId) {
        let (parent, name) = self.split(path);
        self.tree.link(parent, name.as_bytes(), target).unwrap();
    }

    pub(crate) fn change(&mut self, node: NodeId, change: impl FnOnce(&mut Metadata)) {
        change(self.tree.metadata_mut(node));
    }

    pub(crate) fn xattr(&mut self, node: NodeId, name: &str, value: &[u8]) {
        let xattr = Xattr { name: name.into(), value: value.to_vec() };
        self.tree.metadata_mut(node).xattrs.push(xattr);
    }

    pub(crate) fn build(self) -> Layer {
        let mut image = Vec::new();
        write_image(&self.tree, self.data.len() as u64 / 4096, &mut image).unwrap();
        Layer { tree: self.tree, image: image.into(), data: self.data }
    }

    /// Makes the parents.
    fn split<'a>(&mut self, path: &'a str) -> (NodeId, &'a str) {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut parent = self.tree.root();
        for name in parents.split('/').filter(|name| !name.is_empty()) {
            parent = self.tree.child(parent, name.as_bytes()).unwrap_or_else(|| {
                self.tree.insert(parent, name.as_bytes(), NodeKind::Directory, metadata(0o755, 0)).unwrap()
            });
        }
        (parent, name)
    }
}

fn metadata(permissions: u16, number: u32) -> Metadata {
    let mtime = Timestamp { seconds: 1_600_000_000 + i64::from(number), nanoseconds: 123_456_789 + number };
    Metadata { permissions, uid: number, gid: number + 7, mtime, xattrs: Vec::new() }
}

/// Bytes that differ at every place and from file to file.
pub(crate) fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// A capability set as `setcap cap_net_raw+ep` stores it.
pub(crate) const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Some of everything.
pub(crate) fn everything() -> Layer {
    let mut it = Builder::new();
    it.file("empty", b"");
    it.file("one", b"1");
    it.file("block", &content(1, 4096));
    it.file("block and a byte", &content(2, 4097));
    it.file("large", &content(3, 3 << 20));
    let node = it.file("usr/bin/ping", b"#!");
    it.xattr(node, "security.capability", &CAPABILITY);
    let node = it.file("usr/bin/su", b"#!");
    it.change(node, |metadata| metadata.permissions = 0o4755);
    let node = it.directory("tmp");
    it.change(node, |metadata| metadata.permissions = 0o1777);
    it.xattr(node, "user.long", &content(9, 3000));
    it.xattr(node, "user.empty", b"");
    let node = it.file("old", b"older than 1970");
    it.change(node, |metadata| metadata.mtime = Timestamp { seconds: -1, nanoseconds: 5 });
    let node = it.file("nobody", b"");
    it.change(node, |metadata| (metadata.uid, metadata.gid) = (u32::MAX - 1, u32::MAX - 1));
    let node = it.file("links/first", b"linked");
    it.link("links/second", node);
    it.link("elsewhere/third", node);
    it.add("short link", NodeKind::Symlink(b"usr/bin".to_vec()));
    it.add("long link", NodeKind::Symlink(b"x/".repeat(2000)));
    it.add("dev/null", NodeKind::CharDevice(Rdev { major: 1, minor: 3 }));
    it.add("dev/far", NodeKind::BlockDevice(Rdev { major: 4095, minor: 1_048_575 }));
    it.add("dev/fifo", NodeKind::Fifo);
    it.add("dev/socket", NodeKind::Socket);
    it.file("names/\u{1F980} größe\n\t", b"unicode");
    it.file(&format!("names/{}", "n".repeat(255)), b"255 bytes");
    // Sort before and around the two that are always there.
    for name in ["!", "-", ".a", "..a", "..."] {
        it.file(&format!("names/{name}"), name.as_bytes());
    }
    it.directory("hollow");
    it.file(&format!("{}bottom", "deep/".repeat(60)), b"found");
    for number in 0..20_000 {
        it.file(&format!("many/{number:05}"), b"");
    }
    it.build()
}
