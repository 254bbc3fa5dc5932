//! How the daemon ends when it is told to.
//!
//! The sockets go first, so that containerd dials again instead of failing. What is cached is made safe: a node that
//! boots again starts from it. Then the change under way finishes, and no other begins. Nothing is unmounted: overlays
//! use it, and the next daemon goes on with it. With `--unmount-on-exit` everything is, unless a container would notice.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use sd_notify::NotifyState;

use super::manager;
use crate::{
    generations::Generations, hold::Holder, layers::served::Served, metastore::Metastore, sys, take_down,
};

/// What has an end.
pub(super) struct End {
    pub(super) sockets: Vec<PathBuf>,
    pub(super) served: Arc<Served>,
    pub(super) metastore: Arc<Metastore>,
    pub(super) generations: Generations,
    pub(super) holder: Option<Holder>,
}

impl End {
    /// Ends the process; before that takes down what is mounted below `unmount`.
    pub(super) fn stop(&self, unmount: Option<&Path>) -> ! {
        manager::tell(&[NotifyState::Stopping]);
        for socket in &self.sockets {
            if let Err(error) = fs::remove_file(socket) {
                tracing::warn!(socket = %socket.display(), %error, "cannot remove the socket");
            }
        }
        // Readers are answered meanwhile.
        self.served.sync();
        self.metastore.quiesce();
        self.generations.end();
        let taken_down = unmount.map_or(Ok(()), |root| self.take_down(root));
        match taken_down {
            Ok(()) => {
                tracing::info!("stopped");
                sys::exit_now(0)
            }
            Err(error) => {
                tracing::error!("stopped, and not unmounted: {error:#}");
                sys::exit_now(1)
            }
        }
    }

    fn take_down(&self, root: &Path) -> anyhow::Result<()> {
        let root = fs::canonicalize(root).context("the state directory is not found")?;
        take_down::unused(&root)?;
        let mounts = take_down::unmount(&root, self.holder.as_ref())?;
        tracing::info!(mounts, "everything is unmounted");
        Ok(())
    }
}
