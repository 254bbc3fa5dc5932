//! Mounting what the service answers, as containerd mounts it.

use std::{
    ffi::CString,
    path::{Path, PathBuf},
    process::Command,
};

use peel_fusefs::mountinfo;
use peel_proto::containerd::types::Mount;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, mount_remount, unmount};
use tempfile::TempDir;

/// containerd shortens options that do not fit a page, less 512 bytes (contract §3.2). The smallest page.
const LONGEST: usize = 4096 - 512;

/// A mounted snapshot; unmounted at the end.
pub(crate) struct Mounted(TempDir);

impl Mounted {
    pub(crate) fn new(mounts: &[Mount]) -> Self {
        let [one] = mounts else { panic!("one mount, not {mounts:?}") };
        assert_eq!(one.target, "");
        let target = tempfile::Builder::new().prefix("peel-mount-").tempdir_in("/var/tmp").unwrap();
        match one.r#type.as_str() {
            "bind" => bind(one, target.path()),
            "overlay" => overlay(one, target.path()),
            other => panic!("unexpected type {other}"),
        }
        Self(target)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = unmount(self.0.path(), UnmountFlags::DETACH);
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

fn bind(one: &Mount, target: &Path) {
    mount_bind_recursive(&one.source, target).unwrap();
    assert!(one.options.contains(&"rbind".to_owned()), "{one:?}");
    if one.options.contains(&"ro".to_owned()) {
        mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    }
}

fn overlay(one: &Mount, target: &Path) {
    let options = one.options.join(",");
    if options.len() < LONGEST {
        let options = CString::new(options).unwrap();
        mount(&one.source, target, "overlay", MountFlags::empty(), options.as_c_str()).unwrap();
        return;
    }
    // Relative to the longest common directory, from within it.
    let (lower, rest): (Vec<_>, Vec<_>) =
        one.options.iter().partition::<Vec<&String>, _>(|option| option.starts_with("lowerdir="));
    let lower: Vec<&Path> = lower[0]["lowerdir=".len()..].split(':').map(Path::new).collect();
    let common = common(&lower);
    assert_ne!(common, Path::new("/"), "the lower directories have nothing in common");
    let lower: Vec<_> =
        lower.iter().map(|path| path.strip_prefix(&common).unwrap().to_str().unwrap()).collect();
    let mut options = vec![format!("lowerdir={}", lower.join(":"))];
    options.extend(rest.into_iter().cloned());
    let options = options.join(",");
    assert!(options.len() < LONGEST, "mount options are too long");
    let mut command = Command::new("mount");
    command.current_dir(&common).args(["-i", "-t", "overlay", "-o", &options, "overlay"]).arg(target);
    assert!(command.status().unwrap().success());
}

fn common(paths: &[&Path]) -> PathBuf {
    let mut common = paths[0].to_owned();
    while !paths.iter().all(|path| path.starts_with(&common)) {
        assert!(common.pop());
    }
    common
}

/// Takes down everything at and below `directory`, innermost first.
pub(crate) fn unmount_below(directory: &Path) {
    for place in mountinfo::mounts_below(directory).unwrap_or_default() {
        let _ = unmount(&place, UnmountFlags::DETACH);
    }
    let _ = unmount(directory, UnmountFlags::DETACH);
}
