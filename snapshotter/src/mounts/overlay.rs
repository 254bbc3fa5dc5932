//! Overlays in the kernel's table of mounts: the roots of containers, and what they stand on.

use std::{io, path::Path};

use peel_fusefs::mountinfo::{self, Mount};

/// A mount that is an overlay.
///
/// Where options are too long, containerd makes lowerdirs relative, to what is not shown: such an overlay is known by
/// its upper directory alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overlay<'mount> {
    mount_point: &'mount Path,
    /// Its own directory, unless it is read-only.
    pub(crate) upper: Option<&'mount Path>,
    /// What is below, nearest first.
    pub(crate) lowers: Vec<&'mount Path>,
}

impl<'mount> Overlay<'mount> {
    /// Nothing for a mount that is something else.
    pub(crate) fn of(mount: &'mount Mount) -> Option<Self> {
        if mount.kind != "overlay" {
            return None;
        }
        let options = || mount.options.split(',');
        // Newer kernels show each lowerdir as an option of its own.
        let lowers = options()
            .filter_map(|option| {
                option.strip_prefix("lowerdir=").or_else(|| option.strip_prefix("lowerdir+="))
            })
            .flat_map(|lowers| lowers.split(':'))
            .map(Path::new)
            .collect();
        let upper = options().find_map(|option| option.strip_prefix("upperdir=")).map(Path::new);
        Some(Self { mount_point: &mount.mount_point, upper, lowers })
    }

    /// `<namespace>/<container>`, as `ctr` and `crictl` know it, where the mount is a container's root in containerd's
    /// state directory; else where it is mounted.
    fn name(&self) -> String {
        let mount_point = self.mount_point.to_string_lossy();
        let bundle = mount_point.strip_suffix("/rootfs").unwrap_or_default();
        match bundle.rsplit('/').collect::<Vec<_>>()[..] {
            [container, namespace, "io.containerd.runtime.v2.task", ..] => format!("{namespace}/{container}"),
            _ => mount_point.into_owned(),
        }
    }

    fn stands_on(&self, root: &Path) -> bool {
        self.upper.iter().chain(&self.lowers).any(|path| path.starts_with(root))
    }
}

/// The containers whose roots stand on what is below `root`, a path without links, by name.
///
/// # Errors
/// mountinfo cannot be read.
pub(crate) fn containers_on(root: &Path) -> io::Result<Vec<String>> {
    let mounts = mountinfo::mounts()?;
    let on_root = |mount| Overlay::of(mount).filter(|overlay| overlay.stands_on(root));
    let mut names: Vec<String> = mounts.iter().filter_map(on_root).map(|overlay| overlay.name()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task";

    fn mount(mount_point: &str, options: &str) -> Mount {
        let line = format!("61 27 0:50 / {mount_point} rw,relatime shared:9 - overlay overlay rw,{options}");
        Mount::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn options() {
        let mount = mount("/m", "lowerdir=/p/layers/1/5:/p/fuse/1/4,upperdir=/p/snapshots/7/fs,workdir=/p/w");
        let overlay = Overlay::of(&mount).unwrap();
        assert_eq!(overlay.upper, Some(Path::new("/p/snapshots/7/fs")));
        assert_eq!(overlay.lowers, [Path::new("/p/layers/1/5"), Path::new("/p/fuse/1/4")]);
        let ext4 = Mount::parse(b"36 35 98:0 / / rw - ext4 /dev/root rw").unwrap();
        assert_eq!(Overlay::of(&ext4), None);
    }

    #[test]
    fn who_stands_on_it_and_its_name() {
        let of = |mount_point: &str, options: &str| {
            let mount = mount(mount_point, options);
            let overlay = Overlay::of(&mount).unwrap();
            overlay.stands_on(Path::new("/p")).then(|| overlay.name())
        };
        let rootfs = format!("{TASKS}/k8s.io/ab12/rootfs");
        assert_eq!(of(&rootfs, "lowerdir+=/p/layers/1/5,lowerdir+=/q").as_deref(), Some("k8s.io/ab12"));
        assert_eq!(of(&rootfs, "lowerdir=5:6,upperdir=/p/snapshots/7/fs").as_deref(), Some("k8s.io/ab12"));
        assert_eq!(of("/mnt/rootfs", "lowerdir=/p/fuse/1/2").as_deref(), Some("/mnt/rootfs"));
        assert_eq!(of(&rootfs, "lowerdir=/pq/1,upperdir=/other/7/fs"), None);
    }
}
