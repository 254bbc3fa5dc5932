//! What the `peel` command shows of a running daemon. Thin: asks over the control socket, formats, ends.

mod bars;
mod fsck;
mod gc;
mod layers;
mod pulls;
mod stats;
mod table;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use peel_proto::{at_socket, peel::control::v1::control_client::ControlClient};
use tonic::transport::Channel;

pub use fsck::{Fsck, fsck};
pub use gc::{Evict, Gc, evict, gc};
pub use layers::layers;
pub use pulls::{Pulls, pulls};
pub use stats::stats;

/// How to ask, and how to show the answer.
#[derive(Debug, Clone, clap::Args)]
pub struct Query {
    /// Control socket of the daemon
    #[arg(long, default_value = "/run/peel/control.sock")]
    pub control: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Longest wait for an answer from memory.
const TIMEOUT: Duration = Duration::from_secs(10);

async fn connect(socket: &Path) -> anyhow::Result<ControlClient<Channel>> {
    connect_for(socket, TIMEOUT).await
}

/// For calls that take up to `timeout`.
async fn connect_for(socket: &Path, timeout: Duration) -> anyhow::Result<ControlClient<Channel>> {
    let channel = at_socket(socket).timeout(timeout).connect().await.with_context(|| {
        format!("no peel daemon answers at {}; is `peel serve` running?", socket.display())
    })?;
    Ok(ControlClient::new(channel))
}
