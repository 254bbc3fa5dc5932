//! A tree as text, for comparing two.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// Everything below `root` and itself, but times and inode numbers.
pub(crate) fn describe(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "directory".to_owned()
        } else if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else {
            format!("{:?} {} links", String::from_utf8_lossy(&fs::read(&path).unwrap()), metadata.nlink())
        };
        let (mode, uid, gid) = (metadata.permissions().mode(), metadata.uid(), metadata.gid());
        let name = path.strip_prefix(root).unwrap().display().to_string();
        found.insert(name, format!("{mode:o} {uid}:{gid} {content}"));
    }
    found
}
