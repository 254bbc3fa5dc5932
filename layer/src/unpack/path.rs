//! Paths of entries: what they mean inside the layer's own tree.

use std::collections::HashSet;

use peel_erofs::{NodeId, NodeKind, Tree};

use super::EntryError;

/// Longest path in bytes, links resolved (the kernel's `PATH_MAX` without the NUL). It also bounds the depth of
/// the tree.
pub(super) const PATH_MAX: usize = 4095;
/// Symlinks that one path may pass (continuity's fs.RootPath, which containerd resolves parents with).
pub(super) const LINKS_MAX: u32 = 255;

/// The components of an entry's name without `.`, `..` and empty ones, resolved on the text alone, as Go's
/// filepath.Clean does it. Empty for the root.
pub(super) fn clean(name: &[u8]) -> Result<Vec<&[u8]>, EntryError> {
    let mut components = Vec::new();
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop().ok_or(EntryError::LeavesRoot)?),
            name => components.push(name),
        }
    }
    Ok(components)
}

/// What has a name in a directory.
#[derive(Debug)]
pub(crate) enum Found<'a, N> {
    Directory(N),
    Symlink(&'a [u8]),
    Other,
}

/// A tree to walk in: of a layer being unpacked, or the image of one below.
pub(crate) trait Names {
    type Node: Copy;
    type Error: From<EntryError>;
    fn root(&self) -> Self::Node;
    fn look(&self, directory: Self::Node, name: &[u8]) -> Result<Option<Found<'_, Self::Node>>, Self::Error>;
}

impl Names for Tree {
    type Node = NodeId;
    type Error = EntryError;

    fn root(&self) -> NodeId {
        Self::root(self)
    }

    fn look(&self, directory: NodeId, name: &[u8]) -> Result<Option<Found<'_, NodeId>>, EntryError> {
        Ok(self.child(directory, name).map(|node| match self.kind(node) {
            NodeKind::Directory => Found::Directory(node),
            NodeKind::Symlink(target) => Found::Symlink(target),
            _ => Found::Other,
        }))
    }
}

/// Where a path of directories leads: through directories that exist, then names that do not.
#[derive(Debug)]
pub(crate) struct Walk<'a, N> {
    root: N,
    /// Directories below the root, each with the length of its name.
    found: Vec<(N, usize)>,
    /// Names below [`Walk::directory`] that nothing has yet.
    pub(crate) missing: Vec<&'a [u8]>,
}

impl<N: Copy> Walk<'_, N> {
    /// The last directory that exists.
    pub(crate) fn directory(&self) -> N {
        self.found.last().map_or(self.root, |(node, _)| *node)
    }

    fn up(&mut self) {
        if self.missing.pop().is_none() {
            self.found.pop();
        }
    }

    fn length(&self) -> usize {
        let found: usize = self.found.iter().map(|(_, length)| length + 1).sum();
        found + self.missing.iter().map(|name| name.len() + 1).sum::<usize>()
    }
}

/// Follows `path` from the root through symlinks of the tree, never above the root, as continuity's fs.RootPath
/// does it. Takes what it costs from `budget`.
pub(crate) fn walk<'a, T: Names>(
    tree: &'a T,
    path: impl DoubleEndedIterator<Item = &'a [u8]>,
    budget: &mut u64,
) -> Result<Walk<'a, T::Node>, T::Error> {
    let mut walk = Walk { root: tree.root(), found: Vec::new(), missing: Vec::new() };
    // The next component is the last one here.
    let mut pending: Vec<&[u8]> = path.rev().collect();
    let mut links = 0;
    while let Some(component) = pending.pop() {
        *budget = budget.checked_sub(1).ok_or(EntryError::TooManyLookups)?;
        if matches!(component, b"" | b".") {
            continue;
        }
        if component == b".." {
            walk.up();
            continue;
        }
        let found = if walk.missing.is_empty() { tree.look(walk.directory(), component)? } else { None };
        match found {
            None => walk.missing.push(component),
            Some(Found::Directory(node)) => walk.found.push((node, component.len())),
            Some(Found::Symlink(target)) => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(EntryError::TooManyLinks.into());
                }
                if target.starts_with(b"/") {
                    walk.found.clear();
                    pending.extend(target.rsplit(|&byte| byte == b'/'));
                } else {
                    pending.extend(relative(target).into_iter().rev());
                }
            }
            Some(Found::Other) => return Err(EntryError::ParentNotADirectory.into()),
        }
    }
    if walk.length() > PATH_MAX { Err(EntryError::PathTooLong.into()) } else { Ok(walk) }
}

/// The components of a relative symlink target, `..` resolved on the text as far as it goes: containerd joins it
/// to its directory with filepath.Join. (An absolute target it walks as it is.)
fn relative(target: &[u8]) -> Vec<&[u8]> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if components.last().is_some_and(|last| *last != b"..") => drop(components.pop()),
            component => components.push(component),
        }
    }
    components
}

/// Paths of the `wanted` directories that are part of the tree, without leading slash, parents before children.
///
/// # Errors
/// When they are longer than `limit` bytes together, each with a NUL.
pub(super) fn paths_of(
    tree: &Tree,
    wanted: &HashSet<NodeId>,
    limit: u64,
) -> Result<Vec<Vec<u8>>, EntryError> {
    let (mut paths, mut bytes) = (Vec::new(), 0);
    if wanted.is_empty() {
        return Ok(paths);
    }
    // One path for the whole walk: a frame is a directory's length of it and the names still to be seen.
    let mut path: Vec<u8> = Vec::new();
    let mut frames = vec![(0, tree.children(tree.root()))];
    while let Some((length, children)) = frames.last_mut() {
        path.truncate(*length);
        let Some((name, node)) = children.next() else {
            frames.pop();
            continue;
        };
        if !matches!(tree.kind(node), NodeKind::Directory) {
            continue;
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        if wanted.contains(&node) {
            bytes += path.len() as u64 + 1;
            if bytes > limit {
                return Err(EntryError::TooManyImplied(limit));
            }
            paths.push(path.clone());
        }
        frames.push((path.len(), tree.children(node)));
    }
    Ok(paths)
}
