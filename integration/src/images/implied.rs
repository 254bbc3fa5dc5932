//! Which directories of an image have a time that nobody recorded.
//!
//! A layer may hold `a/b` without saying anything of `a`. Unpacking then makes (or copies up) `a`, and its time is
//! that of the unpacking. A pod sees the directory of the topmost layer that has it, so a directory is untimed
//! when that layer implies it. Overlayfs' root is the pod's own upper directory and always untimed.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, EntryKind};
use super::layer::Layer;

/// Symbolic links that are followed within one path before it counts as a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// Paths, relative to the root, of the directories that have no recorded time in an image of these layers.
#[must_use]
pub fn implied_directories<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> BTreeSet<Vec<u8>> {
    let mut untimed = BTreeSet::from([Vec::new()]);
    for layer in layers {
        let (named, touched) = directories(layer.entries());
        untimed.extend(touched.difference(&named).cloned());
        untimed.retain(|path| path.is_empty() || !named.contains(path));
    }
    untimed
}

type Paths = BTreeSet<Vec<u8>>;
type Components = Vec<Vec<u8>>;

/// The directories that a layer names, and all that it holds something of.
fn directories(entries: &[Entry]) -> (Paths, Paths) {
    let mut links = BTreeMap::new();
    let (mut named, mut touched) = (Paths::new(), Paths::new());
    for entry in entries {
        let mut path = components(&entry.path);
        let Some(name) = path.pop() else { continue };
        let parent = resolve(path, &links);
        for depth in 0..=parent.len() {
            touched.insert(parent[..depth].join(&b'/'));
        }
        let path = [parent, vec![name]].concat();
        let joined = path.join(&b'/');
        match &entry.kind {
            EntryKind::Symlink(target) => {
                named.remove(&joined);
                links.insert(path, target.clone());
                continue;
            }
            EntryKind::Directory => named.insert(joined),
            _ => named.remove(&joined),
        };
        links.remove(&path);
    }
    (named, touched)
}

/// Follows this layer's own symbolic links, scoped to the root, as containerd does for the parent of an entry.
fn resolve(path: Components, links: &BTreeMap<Components, Vec<u8>>) -> Components {
    let mut resolved = Components::new();
    let mut rest: Vec<Vec<u8>> = path.into_iter().rev().collect();
    let mut followed = 0;
    while let Some(component) = rest.pop() {
        if component == b".." {
            resolved.pop();
            continue;
        }
        resolved.push(component);
        let Some(target) = links.get(&resolved).filter(|_| followed < MAX_LINKS) else { continue };
        followed += 1;
        if target.starts_with(b"/") {
            resolved.clear();
        } else {
            resolved.pop();
        }
        rest.extend(components(target).into_iter().rev());
    }
    resolved
}

/// The components of a name, without empty ones and `.`.
fn components(path: &[u8]) -> Components {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.'])).map(<[u8]>::to_vec).collect()
}
