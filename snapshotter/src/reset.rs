//! `peel reset`: gives up a state directory, also one whose metadata nobody can read any more.
//!
//! Whether containers run on it is asked of the kernel's table of mounts, not of the metadata. What is mounted goes
//! first, then the metadata, then the rest: should this end half-way, either the metadata are as bad as they were, or
//! the next daemon begins with none and clears away what it finds.
//!
//! Only what Peel makes is deleted: a `--root` that was mistyped costs nobody anything else.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use peel_fusefs::mountinfo;

use crate::{hold::Holder, lock, metastore, snapshots::Directories, take_down};

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

/// What the command line says.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// State directory to give up
    #[arg(long, default_value = "/var/lib/peel")]
    pub root: PathBuf,
    /// Socket of the holder that keeps the daemon's FUSE connections
    #[arg(long, default_value = "/run/peel/hold.sock")]
    pub holder: PathBuf,
}

/// `peel reset`. Gives what is to be done on containerd's side.
///
/// # Errors
/// Nothing is touched while containers run on Peel ([`take_down::InUse`]), or a daemon does, or if `root` is no state
/// directory. Something cannot be unmounted or deleted; then it can be run again.
#[tokio::main(flavor = "current_thread")]
pub async fn run(options: &Options) -> anyhow::Result<String> {
    let root = fs::canonicalize(&options.root)
        .with_context(|| format!("nothing to reset: {}", options.root.display()))?;
    let metadata = root.join(metastore::FILE);
    anyhow::ensure!(
        metadata.exists(),
        "{} is no state directory of Peel: it has no {}",
        root.display(),
        metastore::FILE
    );
    take_down::unused(&root)?;
    let _lock = lock::lock(&root).await.context("stop the daemon first (systemctl stop peel.socket)")?;
    // Again: until now a daemon could have given out mounts.
    take_down::unused(&root)?;
    let mounts = take_down::unmount(&root, Some(&Holder::at(&options.holder)))?;
    let left = mountinfo::mounts_below(&root).context("mountinfo cannot be read")?;
    anyhow::ensure!(left.is_empty(), "still mounted: {left:?}");
    delete_all(&root, &metadata)?;
    Ok(format!("{mounts} mounts taken down, and all state below {} deleted.\n{WHAT_NEXT}", root.display()))
}

fn delete_all(root: &Path, metadata: &Path) -> anyhow::Result<()> {
    let delete = |name: &str| {
        let path = root.join(name);
        gone(fs::remove_dir_all(&path)).with_context(|| format!("{} cannot be deleted", path.display()))
    };
    MOUNT_POINTS.into_iter().try_for_each(delete)?;
    gone(fs::remove_file(metadata)).with_context(|| format!("{} cannot be deleted", metadata.display()))?;
    FILES.into_iter().try_for_each(delete)?;
    let directories = Directories::open(root).with_context(|| format!("cannot use {}", root.display()))?;
    directories
        .sweep(&HashSet::new())
        .and_then(|()| directories.reap())
        .context("what containers have written cannot be deleted")
}

/// What is not there is gone, too.
fn gone(deleted: io::Result<()>) -> io::Result<()> {
    deleted.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
