//! How a snapshot is mounted: the shapes that containerd's own overlayfs snapshotter answers (contract §3.1).

use std::path::{Path, PathBuf};

use peel_proto::containerd::types::Mount;

use super::Directories;
use crate::metastore::{Kind, SnapshotId};

/// Options that every overlay mount of this machine gets.
#[derive(Debug, Clone, Default)]
pub struct OverlayOptions(Vec<String>);

impl OverlayOptions {
    /// Asks the kernel.
    #[must_use]
    pub fn probe() -> Self {
        let mut options = Vec::new();
        // With an index, overlayfs refuses an upper directory that was mounted on other lower ones before; the
        // unpacker may do that.
        if Path::new("/sys/module/overlay/parameters/index").exists() {
            options.push("index=off".to_owned());
        }
        if in_user_namespace() {
            options.push("userxattr".to_owned());
        }
        Self(options)
    }
}

/// The first user namespace maps all ids onto themselves (user_namespaces(7)).
fn in_user_namespace() -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else { return false };
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// How to mount the snapshot `id`; `lower` are the trees below it, nearest first.
#[must_use]
pub fn mount(
    directories: &Directories,
    overlay: &OverlayOptions,
    kind: Kind,
    id: SnapshotId,
    lower: &[PathBuf],
) -> Mount {
    let writable = kind == Kind::Active;
    match lower {
        [] => bind(&directories.fs(id), if writable { "rw" } else { "ro" }),
        [only] if !writable => bind(only, "ro"),
        lower => {
            let mut options = Vec::new();
            if writable {
                options.push(format!("workdir={}", directories.work(id).display()));
                options.push(format!("upperdir={}", directories.fs(id).display()));
            }
            let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
            options.push(format!("lowerdir={}", lower.join(":")));
            options.extend_from_slice(&overlay.0);
            Mount { r#type: "overlay".into(), source: "overlay".into(), target: String::new(), options }
        }
    }
}

fn bind(source: &Path, mode: &str) -> Mount {
    Mount {
        r#type: "bind".into(),
        source: source.display().to_string(),
        target: String::new(),
        options: vec![mode.into(), "rbind".into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let base = root.path().display().to_string();
        let directories = Directories::open(root.path())?;
        let overlay = OverlayOptions(vec!["index=off".into()]);
        let lower = [PathBuf::from("/p0"), PathBuf::from("/p1")];
        let shape = |kind, lower: &[PathBuf]| {
            let mount = mount(&directories, &overlay, kind, SnapshotId(7), lower);
            assert_eq!(mount.target, "");
            (mount.r#type, mount.source.replace(&base, "R"), mount.options.join(" ").replace(&base, "R"))
        };
        let own = "R/snapshots/7/fs".to_owned();
        let bind = |source: &str, options: &str| ("bind".to_owned(), source.to_owned(), options.to_owned());
        let over = |options: &str| ("overlay".to_owned(), "overlay".to_owned(), options.to_owned());
        assert_eq!(shape(Kind::Active, &[]), bind(&own, "rw rbind"));
        assert_eq!(shape(Kind::View, &[]), bind(&own, "ro rbind"));
        assert_eq!(shape(Kind::View, &lower[..1]), bind("/p0", "ro rbind"));
        assert_eq!(shape(Kind::View, &lower), over("lowerdir=/p0:/p1 index=off"));
        assert_eq!(
            shape(Kind::Active, &lower[..1]),
            over("workdir=R/snapshots/7/work upperdir=R/snapshots/7/fs lowerdir=/p0 index=off")
        );
        Ok(())
    }
}
