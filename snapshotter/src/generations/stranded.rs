//! Which snapshots stand on connections that are dead.
//!
//! mountinfo shows the overlays, also what an earlier daemon had mounted, but not always what they stand on: where a
//! chain is long, containerd makes its lowerdirs relative to a directory that nobody sees afterwards (contract §3.3),
//! and those of a user namespace are clones. So whenever a container's mounts are answered, its generation is noted
//! beside its upper directory. Without an fsync: after a machine crash nothing is mounted.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use peel_fusefs::mountinfo::{self, Mount};

use super::Generation;
use crate::{
    metastore::{Metastore, SnapshotId},
    mounts::overlay::Overlay,
};

/// Keys of the snapshots whose overlays have a lowerdir on a generation that is not in `living`.
pub(super) fn snapshots(
    root: &Path,
    metastore: &Metastore,
    living: &[Generation],
) -> anyhow::Result<Vec<String>> {
    let mounts = mountinfo::mounts()?;
    let noted = |id| read(root, id);
    let ids: HashSet<SnapshotId> =
        mounts.iter().filter_map(|mount| stranded(mount, root, living, noted)).collect();
    let mut keys = Vec::new();
    if !ids.is_empty() {
        metastore.snapshot()?.each_snapshot(|snapshot| {
            if ids.contains(&snapshot.id) {
                keys.push(snapshot.key);
            }
        })?;
    }
    Ok(keys)
}

/// Notes what the active snapshot `id` will stand on, if anything in `lower` is a layer that Peel serves.
///
/// # Errors
/// The note cannot be written.
pub fn note(root: &Path, id: SnapshotId, lower: &[PathBuf]) -> io::Result<()> {
    let Some(generation) = lower.iter().find_map(|path| generation(root, path)) else { return Ok(()) };
    match read(root, id) {
        Some(noted) if noted == generation => Ok(()),
        _ => fs::write(path(root, id), format!("{generation}\n")),
    }
}

fn read(root: &Path, id: SnapshotId) -> Option<Generation> {
    fs::read_to_string(path(root, id)).ok()?.trim_end().parse().ok()
}

fn path(root: &Path, id: SnapshotId) -> PathBuf {
    root.join(format!("snapshots/{id}/generation"))
}

/// The generation that a lowerdir of a layer names.
fn generation(root: &Path, lower: &Path) -> Option<Generation> {
    let below = |directory| lower.strip_prefix(root.join(directory)).ok();
    below("fuse").or_else(|| below("layers"))?.iter().next()?.to_str()?.parse().ok()
}

/// The snapshot whose overlay this mount is, if it is stranded. What its lowerdirs say comes before
/// what is `noted`: the mounts of a running container may be asked for once more, and answered with a newer one.
fn stranded(
    mount: &Mount,
    root: &Path,
    living: &[Generation],
    noted: impl Fn(SnapshotId) -> Option<Generation>,
) -> Option<SnapshotId> {
    let overlay = Overlay::of(mount)?;
    let upper = overlay.upper?.strip_prefix(root.join("snapshots")).ok()?;
    let id = SnapshotId(upper.iter().next()?.to_str()?.parse().ok()?);
    let mut named: Vec<_> = overlay.lowers.iter().filter_map(|lower| generation(root, lower)).collect();
    if named.is_empty() {
        named.extend(noted(id));
    }
    named.iter().any(|generation| !living.contains(generation)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mount() {
        let living = ["2".parse().unwrap()];
        let found = |options: &str| {
            let line =
                format!("61 27 0:50 / /run/c/rootfs rw,relatime shared:9 - overlay overlay rw,{options}");
            let noted = |id: SnapshotId| if id.0 < 8 { None } else { "1".parse().ok() };
            stranded(&Mount::parse(line.as_bytes()).unwrap(), Path::new("/p"), &living, noted)
        };
        let upper = "upperdir=/p/snapshots/7/fs,workdir=/p/snapshots/7/work";
        assert_eq!(found(&format!("lowerdir=/p/fuse/2/5:/p/fuse/1/4,{upper}")), Some(SnapshotId(7)));
        assert_eq!(found(&format!("lowerdir=/p/layers/1/4,{upper}")), Some(SnapshotId(7)));
        assert_eq!(found(&format!("lowerdir+=/p/layers/1/4,{upper}")), Some(SnapshotId(7)));
        assert_eq!(found(&format!("lowerdir=/p/fuse/2/5:/p/snapshots/3/fs,{upper}")), None);
        assert_eq!(found("lowerdir=/p/fuse/1/4,upperdir=/other/snapshots/7/fs"), None);
        let upper = "upperdir=/p/snapshots/8/fs,workdir=/p/snapshots/8/work";
        assert_eq!(found(&format!("lowerdir=5:4:7,{upper}")), Some(SnapshotId(8)), "relative");
        assert_eq!(
            found(&format!("lowerdir=/tmp/ovl-idmapped/0:/tmp/ovl-idmapped/1,{upper}")),
            Some(SnapshotId(8))
        );
        assert_eq!(found(&format!("lowerdir=/p/fuse/2/5,{upper}")), None, "what is seen counts more");
        let ext4 = Mount::parse(b"36 35 98:0 / / rw - ext4 /dev/root rw").unwrap();
        assert_eq!(stranded(&ext4, Path::new("/p"), &living, |_| None), None);
    }

    #[test]
    fn notes() {
        let root = tempfile::tempdir().unwrap();
        let (root, id) = (root.path(), SnapshotId(7));
        fs::create_dir_all(root.join("snapshots/7")).unwrap();
        note(root, id, &[root.join("snapshots/3/fs")]).unwrap();
        assert_eq!(read(root, id), None);
        for generation in ["1", "12"] {
            let lower = [root.join("snapshots/3/fs"), root.join("layers").join(generation).join("4")];
            note(root, id, &lower).unwrap();
            assert_eq!(read(root, id), Some(generation.parse().unwrap()));
        }
    }
}
