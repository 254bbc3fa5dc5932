//! Trees to test with, and what "the same tree" means.

use std::{
    collections::{HashMap, VecDeque},
    error::Error,
};

use peel_erofs::{Metadata, NodeId, NodeKind, Rdev, Timestamp, Tree, TreeError, Xattr, write_image};
use rand::{Rng, SeedableRng, rngs::StdRng};

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// A tree, and the length of the data device that its files lie in.
pub(crate) struct Grown {
    pub(crate) tree: Tree,
    pub(crate) data_blocks: u64,
}

impl Grown {
    pub(crate) fn image(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut bytes = Vec::new();
        let summary = write_image(&self.tree, self.data_blocks, &mut bytes)?;
        assert_eq!(bytes.len() as u64, summary.size());
        Ok(bytes)
    }
}

/// Grows random trees that hold a bit of everything; equal seeds give equal trees.
pub(crate) struct Gardener {
    random: StdRng,
    next_block: u32,
}

impl Gardener {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), next_block: 0 }
    }

    /// A tree of about `nodes` nodes whose files have at most `largest` bytes.
    pub(crate) fn grow(mut self, nodes: usize, largest: u64) -> Result<Grown, TreeError> {
        let mut tree = Tree::new(self.metadata());
        let mut directories = vec![tree.root()];
        let mut others = Vec::new();
        for _ in 0..nodes {
            // Favours the first ones, so that there are large directories, and chains as well.
            let near = self.random.random_range(0..directories.len());
            let parent = directories[self.random.random_range(0..=near)];
            let name = self.name();
            if tree.child(parent, &name).is_some() {
                continue;
            }
            if !others.is_empty() && self.random.random_ratio(1, 12) {
                let target = others[self.random.random_range(0..others.len())];
                tree.link(parent, &name, target)?;
                continue;
            }
            let kind = self.kind(largest);
            let metadata = self.metadata();
            let is_directory = kind == NodeKind::Directory;
            let node = tree.insert(parent, &name, kind, metadata)?;
            if is_directory { directories.push(node) } else { others.push(node) }
        }
        Ok(Grown { tree, data_blocks: u64::from(self.next_block) })
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.random.random()).collect()
    }

    fn name(&mut self) -> Vec<u8> {
        // What sorts around `.` and `..` matters most.
        const ALPHABET: &[u8] = b" !-+.,abcXYZ09_~\x01\x7f\xc3\xff";
        let length = match self.random.random_range(0..20) {
            0 => 255,
            1 => self.random.random_range(1..=255),
            _ => self.random.random_range(1..=24),
        };
        let mut name: Vec<u8> =
            (0..length).map(|_| ALPHABET[self.random.random_range(0..ALPHABET.len())]).collect();
        if name == b"." || name == b".." {
            name.push(b'x');
        }
        name
    }

    fn kind(&mut self, largest: u64) -> NodeKind {
        match self.random.random_range(0..20) {
            0..=3 => NodeKind::Directory,
            4 | 5 => {
                let length = [1, 60, 500, 3000, 4032, 4095][self.random.random_range(0..6)];
                NodeKind::Symlink(self.bytes(length).into_iter().map(|byte| byte.max(1)).collect())
            }
            6 => NodeKind::CharDevice(Rdev::WHITEOUT),
            7 => NodeKind::CharDevice(self.rdev()),
            8 => NodeKind::BlockDevice(self.rdev()),
            9 => NodeKind::Fifo,
            10 => NodeKind::Socket,
            _ => self.file(largest),
        }
    }

    fn rdev(&mut self) -> Rdev {
        Rdev { major: self.random.random_range(0..4096), minor: self.random.random_range(0..1_048_576) }
    }

    fn file(&mut self, largest: u64) -> NodeKind {
        let size = match self.random.random_range(0..8) {
            0 => 0,
            1 => 4096,
            2 => 4097,
            _ => self.random.random_range(1..=largest),
        };
        let start_block = self.next_block;
        self.next_block += u32::try_from(size.div_ceil(4096)).expect("test files are small");
        NodeKind::File { size, start_block }
    }

    fn metadata(&mut self) -> Metadata {
        let far = self.random.random_ratio(1, 20);
        let seconds = if far { self.random.random_range(-(1 << 40)..(1 << 40)) } else { 1_700_000_000 };
        Metadata {
            permissions: self.random.random_range(0..=0o7777),
            uid: if far { self.random.random_range(0..u32::MAX) } else { 0 },
            gid: self.random.random_range(0..3000),
            mtime: Timestamp { seconds, nanoseconds: self.random.random_range(0..1_000_000_000) },
            xattrs: self.xattrs(),
        }
    }

    fn xattrs(&mut self) -> Vec<Xattr> {
        const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
        let count = match self.random.random_range(0..30) {
            0 => 40,
            1..=4 => self.random.random_range(1..=3),
            _ => 0,
        };
        let mut xattrs: Vec<Xattr> = Vec::new();
        for number in 0..count {
            let mut name = PREFIXES[self.random.random_range(0..3)].to_vec();
            name.extend_from_slice(format!("{number}").as_bytes());
            let longest = if self.random.random_ratio(1, 20) { 245 } else { 20 };
            name.resize(name.len() + self.random.random_range(0..longest), b'n');
            let longest = if self.random.random_ratio(1, 30) { 5000 } else { 64 };
            let length = self.random.random_range(0..=longest);
            xattrs.push(Xattr { name, value: self.bytes(length) });
        }
        xattrs
    }
}

/// All names of a tree in a fixed order: path (components joined by slashes) and node.
pub(crate) fn paths(tree: &Tree) -> Vec<(Vec<u8>, NodeId)> {
    let mut all = vec![(Vec::new(), tree.root())];
    let mut queue = VecDeque::from([(Vec::new(), tree.root())]);
    while let Some((path, directory)) = queue.pop_front() {
        for (name, node) in tree.children(directory) {
            let path = [path.as_slice(), name].join(&b'/');
            if *tree.kind(node) == NodeKind::Directory {
                queue.push_back((path.clone(), node));
            }
            all.push((path, node));
        }
    }
    all
}

/// Names of each node, and for directories what stat(2) calls links: 2 and one for each subdirectory.
pub(crate) fn links(tree: &Tree) -> HashMap<NodeId, u32> {
    let is_directory = |node| *tree.kind(node) == NodeKind::Directory;
    let mut links = HashMap::new();
    for (_, node) in paths(tree) {
        if is_directory(node) {
            let subdirectories = tree.children(node).filter(|(_, child)| is_directory(*child)).count();
            links.insert(node, 2 + u32::try_from(subdirectories).expect("test trees are small"));
        } else {
            *links.entry(node).or_default() += 1;
        }
    }
    links
}
