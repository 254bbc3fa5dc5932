//! The cgroup of a test's pods, in all hierarchies of cgroup v1 and in the one of v2.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// The processes in `cgroup` and below it.
pub(super) fn processes(cgroup: &str) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for dir in hierarchies(cgroup) {
        visit(&dir, &mut |dir| {
            let list = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
            Ok(())
        })
        .unwrap_or_default();
    }
    found
}

/// Removes `cgroup` and what is below it.
pub(super) fn remove(cgroup: &str) -> Result<()> {
    for dir in hierarchies(cgroup) {
        visit(&dir, &mut |dir| fs::remove_dir(dir)).with_context(|| format!("removing {dir:?}"))?;
    }
    Ok(())
}

fn hierarchies(cgroup: &str) -> Vec<PathBuf> {
    let name = cgroup.trim_start_matches('/');
    let mut dirs = vec![Path::new(ROOT).join(name)];
    dirs.extend(fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path().join(name)));
    dirs.retain(|dir| dir.is_dir());
    // Hierarchies that are mounted together are one folder with several names.
    let mut seen = BTreeSet::new();
    dirs.retain(|dir| fs::canonicalize(dir).is_ok_and(|real| seen.insert(real)));
    dirs
}

/// Calls `action` for every folder below `dir` and for `dir`, children first.
fn visit(dir: &Path, action: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type()?.is_dir() {
            visit(&entry.path(), action)?;
        }
    }
    action(dir)
}
