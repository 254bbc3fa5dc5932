//! Takes everything down that a daemon mounted and had kept: before Peel is removed from a node.
//!
//! Containers that run on Peel would lose what they have not read yet, so nothing is touched while there are any.
//! What is on disk stays: the next `peel serve` finds its snapshots again.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use peel_fusefs::mountinfo;

use crate::{hold::Holder, lock, mounts::overlay};

/// A daemon that was stopped: where its state is, and who keeps its connections.
#[derive(Debug, Clone, clap::Args)]
pub struct Stopped {
    /// State directory of the daemon
    #[arg(long, default_value = "/var/lib/peel")]
    root: PathBuf,
    /// Socket of the holder that keeps the daemon's FUSE connections
    #[arg(long, default_value = "/run/peel/hold.sock")]
    holder: PathBuf,
}

/// What the command line says.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[command(flatten)]
    daemon: Stopped,
    /// Only say whether containers run on Peel; the daemon may run
    #[arg(long)]
    check: bool,
}

/// Containers run on Peel.
#[derive(Debug, thiserror::Error)]
#[error("containers run on Peel, and nothing was taken down: {}; stop them first", .0.join(", "))]
pub struct InUse(Vec<String>);

/// `peel unmount`.
///
/// # Errors
/// Containers run on Peel ([`InUse`]), or a daemon does; something stays mounted.
#[tokio::main(flavor = "current_thread")]
pub async fn run(options: &Options) -> anyhow::Result<String> {
    let root = options.daemon.root()?;
    if options.check {
        unused(&root)?;
        return Ok("no container runs on Peel\n".into());
    }
    let (_lock, count) = options.daemon.take_down(&root).await?;
    Ok(format!("{count} mounts taken down below {}\n", root.display()))
}

impl Stopped {
    /// Its state directory, without links: as the kernel's table of mounts has it.
    pub(crate) fn root(&self) -> anyhow::Result<PathBuf> {
        fs::canonicalize(&self.root).with_context(|| format!("no state of Peel: {}", self.root.display()))
    }

    /// Takes down everything below `root`, which is its. Gives the number of mounts, and what keeps a daemon from being
    /// started there.
    pub(crate) async fn take_down(&self, root: &Path) -> anyhow::Result<(File, usize)> {
        unused(root)?;
        let lock = lock::lock(root).await.context("stop the daemon first (systemctl stop peel.socket)")?;
        // Again: until now a daemon could have given out mounts.
        unused(root)?;
        Ok((lock, unmount(root, Some(&Holder::at(&self.holder)))?))
    }
}

/// Fails while containers run on what is below `root`.
///
/// # Errors
/// [`InUse`], or mountinfo cannot be read.
pub fn unused(root: &Path) -> anyhow::Result<()> {
    let containers = overlay::containers_on(root).context("mountinfo cannot be read")?;
    if containers.is_empty() { Ok(()) } else { Err(InUse(containers).into()) }
}

/// Takes down all mounts below `root`, and has `holder` let go of the FUSE connections; gives the number of mounts.
/// Nobody may serve `root` any more, and nobody use it.
///
/// # Errors
/// Something stays mounted, or with the holder.
pub fn unmount(root: &Path, holder: Option<&Holder>) -> anyhow::Result<usize> {
    let mounts = mountinfo::mounts_below(root).context("mountinfo cannot be read")?;
    for mount_point in &mounts {
        peel_fusefs::detach(mount_point)
            .with_context(|| format!("{} cannot be unmounted", mount_point.display()))?;
    }
    // No holder, nothing kept.
    if let Some(holder) = holder
        && let Ok(names) = holder.names()
    {
        for name in names {
            holder.remove(&name).with_context(|| format!("the holder does not let go of {name}"))?;
        }
    }
    Ok(mounts.len())
}
