//! The service manager's watchdog (`WatchdogSec=`): fed only while the daemon really serves.
//!
//! A daemon that hangs holds up every container that reads, and all that helps is another one: killed, it is started
//! again and reads are answered. So each time it is looked whether a call at containerd's socket is answered, through
//! the runtime, the gRPC service and the metadata, and whether every session thread got on since the last look.

use std::path::{Path, PathBuf};

use peel_proto::{
    at_socket,
    containerd::services::snapshots::v1::{StatSnapshotRequest, snapshots_client::SnapshotsClient},
};
use sd_notify::NotifyState;
use tokio::time::Instant;
use tonic::Code;

use super::manager;
use crate::generations::Generations;

/// Looks within the manager's limit: one that fails may be followed by two that do not.
const LOOKS: u32 = 3;
/// What nobody has.
const KEY: &str = "peel-watchdog";

/// Feeds the watchdog, if there is one, for as long as the process lives.
pub(super) async fn feed(socket: PathBuf, generations: Generations) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let interval = limit / LOOKS;
    let mut earlier = generations.looks();
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let answered = tokio::time::timeout(interval, ask(&socket)).await;
        let now = generations.looks();
        let stuck: usize = now
            .iter()
            .filter_map(|(generation, look)| Some(look.stuck_since(earlier.get(generation)?)))
            .sum();
        earlier = now;
        match (answered, stuck) {
            (Ok(Ok(())), 0) => manager::tell(&[NotifyState::Watchdog]),
            (Ok(Ok(())), stuck) => tracing::error!(stuck, "FUSE threads do not get on"),
            (Ok(Err(error)), _) => tracing::error!("own socket does not answer: {error:#}"),
            (Err(_), _) => tracing::error!(?interval, "own socket does not answer in time"),
        }
        ticks.tick().await;
    }
}

/// A call that asks for nothing, over a connection of its own.
async fn ask(socket: &Path) -> anyhow::Result<()> {
    let channel = at_socket(socket).connect().await?;
    let request = StatSnapshotRequest { snapshotter: String::new(), key: KEY.into() };
    match SnapshotsClient::new(channel).stat(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status.into()),
    }
}
