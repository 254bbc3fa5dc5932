//! A generation begins: mounted, kept, agreed with the kernel, stored, served.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use peel_fusefs::{Connection, Handshake, Server};
use tokio::sync::mpsc;

use super::{Generation, Serving, path};

impl Serving {
    pub(super) fn say_what_is_not_covered(&self, current: Option<&Server>) {
        if self.holder.is_none() {
            tracing::warn!(
                "no holder (--holder, `peel hold`): should this daemon end, containers fail to read"
            );
        }
        let resends = current.is_some_and(|server| server.init_parameters().resends());
        if !resends || self.config.assume_no_resend {
            tracing::warn!(
                "the kernel cannot send FUSE requests again (it is older than 6.9): should this daemon be killed, reads \
                 that wait for an answer may fail; all others go on"
            );
        }
    }

    /// Mounts a new generation and serves it.
    pub(super) fn begin(
        &self,
        ended: &mpsc::UnboundedSender<Generation>,
    ) -> anyhow::Result<(Generation, Server)> {
        let generation = Generation::next(&self.metastore)?;
        let mount_point = path::make(&self.root, generation)?;
        let device = peel_fusefs::mount(&mount_point).with_context(|| {
            format!("cannot mount FUSE at {} (is the module loaded?)", mount_point.display())
        })?;
        self.keep(generation, &device);
        let handshake = Handshake::first(device, Arc::clone(&self.source), &self.config)
            .context("the FUSE handshake failed")?;
        let connection = Connection::at(&mount_point).context("the new FUSE mount is not found")?;
        generation.store(&self.metastore, connection, handshake.init_parameters())?;
        let server = self.serve(generation, &mount_point, handshake, ended)?;
        tracing::info!(%generation, "FUSE connection begun");
        Ok((generation, server))
    }

    pub(super) fn serve(
        &self,
        generation: Generation,
        mount_point: &Path,
        handshake: Handshake,
        ended: &mpsc::UnboundedSender<Generation>,
    ) -> anyhow::Result<Server> {
        let ended = ended.clone();
        handshake
            .serve(mount_point, move |outcome| {
                if let Err(error) = outcome {
                    tracing::error!(%generation, %error, "a FUSE session failed");
                }
                let _ = ended.send(generation);
            })
            .context("FUSE threads cannot be started")
    }
}
