//! When a daemon first answers a call, to the fraction of a millisecond.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use peel_proto::{
    at_socket,
    containerd::services::snapshots::v1::{ListSnapshotsRequest, snapshots_client::SnapshotsClient},
};
use tokio::time;

use crate::runtime::block_on;

/// The start of a daemon takes milliseconds; a busy machine may need more.
const LIMIT: Duration = Duration::from_secs(20);
/// Short next to what is measured.
const POLL: Duration = Duration::from_micros(500);

/// Lists the snapshots behind `socket`, again and again until that works; gives the time when it did.
pub(super) fn wait(socket: &Path) -> Result<Instant> {
    let socket = socket.to_owned();
    block_on(async {
        let answered = time::timeout(LIMIT, async {
            while list(&socket).await.is_err() {
                time::sleep(POLL).await;
            }
            Instant::now()
        });
        answered.await.context("the daemon did not answer")
    })?
}

async fn list(socket: &Path) -> Result<()> {
    let channel = at_socket(socket).connect().await?;
    let mut client = SnapshotsClient::new(channel);
    let mut answer = client.list(ListSnapshotsRequest::default()).await?.into_inner();
    while answer.message().await?.is_some() {}
    Ok(())
}
