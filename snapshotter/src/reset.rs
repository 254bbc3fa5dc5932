//! `peel reset`: gives up a state directory, also one whose metadata nobody can read any more.
//!
//! Whether containers run on it is asked of the kernel's table of mounts, not of the metadata. What is mounted goes
//! first, then the metadata, then the rest: should this end half-way, either the metadata are as bad as they were, or
//! the next daemon begins with none and clears away what it finds.
//!
//! Only what Peel makes is deleted: a `--root` that was mistyped costs nobody anything else.

use std::{collections::HashSet, fs, io, path::Path};

use anyhow::Context as _;
use peel_fusefs::mountinfo;

use crate::{metastore, snapshots::Directories, take_down::Stopped};

/// Where things are mounted: empty when nothing is.
const MOUNT_POINTS: [&str; 3] = ["fuse", "layers", "idmapped"];
/// What is files only. `snapshots` and `trash` have whatever containers made.
const FILES: [&str; 3] = ["index", "cache", "profiles"];

/// containerd goes on answering "exists" for what is gone (containerd-contract §0, fact 4); its GC asks Peel once, so
/// Peel is to run by then (§5.4).
const WHAT_NEXT: &str = "\
containerd still names the snapshots that were here: pulls and starts of their images fail until it has forgotten them.
 1. start Peel:                 systemctl start peel.socket peel.service
 2. remove pods and images:     crictl rmp -fa && crictl rmi -a
    in each other namespace:    ctr -n NAMESPACE containers rm ...; ctr -n NAMESPACE images rm --sync ...
 3. nothing may be left:        ctr -n NAMESPACE snapshots --snapshotter peel ls
Images are pulled again when they are next needed.
";

/// `peel reset`. Gives what is to be done on containerd's side.
///
/// # Errors
/// Nothing is touched while containers run on Peel ([`InUse`](crate::take_down::InUse)), or a daemon does, or if it has
/// no state there. Something cannot be unmounted or deleted: while the metadata are there it can be run again, and after
/// that the next daemon gives back what is left.
#[tokio::main(flavor = "current_thread")]
pub async fn run(daemon: &Stopped) -> anyhow::Result<String> {
    let root = daemon.root()?;
    anyhow::ensure!(
        root.join(metastore::FILE).exists(),
        "{} is no state directory of Peel: it has no {}",
        root.display(),
        metastore::FILE
    );
    let (_lock, mounts) = daemon.take_down(&root).await?;
    let left = mountinfo::mounts_below(&root).context("mountinfo cannot be read")?;
    anyhow::ensure!(left.is_empty(), "still mounted: {left:?}");
    delete_all(&root)?;
    Ok(format!("{mounts} mounts taken down, and all state below {} deleted.\n{WHAT_NEXT}", root.display()))
}

fn delete_all(root: &Path) -> anyhow::Result<()> {
    let delete = |name: &str| {
        let path = root.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} cannot be deleted", path.display()))
            }
            _ => Ok(()),
        }
    };
    MOUNT_POINTS.into_iter().try_for_each(delete)?;
    metastore::delete(root)
        .with_context(|| format!("the metadata in {} cannot be deleted", root.display()))?;
    FILES.into_iter().try_for_each(delete)?;
    let directories = Directories::open(root).with_context(|| format!("cannot use {}", root.display()))?;
    directories
        .sweep(&HashSet::new())
        .and_then(|()| directories.reap())
        .context("what containers have written cannot be deleted")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::metastore::Metastore;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        daemon: Stopped,
    }

    #[test]
    fn what_is_peels_goes_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        drop(Metastore::open(&path(metastore::FILE)).unwrap());
        Directories::open(root.path()).unwrap();
        for name in ["fuse/1", "layers/1/5", "idmapped", "index/a", "cache/a", "snapshots/7/fs", "trash/s6"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("of-somebody-else"), "kept").unwrap();
        let arguments = ["reset", "--root", root.path().to_str().unwrap(), "--holder", "/nobody"];
        run(&Command::parse_from(arguments).daemon).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["lock", "of-somebody-else", "snapshots", "trash"]);
        assert!(fs::read_dir(path("snapshots")).unwrap().next().is_none());
    }
}
