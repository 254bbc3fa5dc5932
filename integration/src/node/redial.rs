//! containerd's connection to a Peel that was away.
//!
//! It is dialled anew by the next call. One that finds nobody there fails, and so does every other one for a second or
//! two, which is gRPC's pause. Whose call that is, a test does not know: containerd asks for the usage of snapshots every
//! ten seconds, and its GC calls when it likes. So whoever had Peel restarted waits here before he asks for anything.

use std::time::Duration;

use anyhow::Result;

use super::Node;
use crate::wait;

/// The pause has three seconds at most.
const LIMIT: Duration = Duration::from_secs(60);

impl Node {
    /// Waits until containerd finds Peel again.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_peel(&self) -> Result<()> {
        let list = ["snapshots", "--snapshotter", "peel", "ls"];
        wait::until("containerd to find Peel again", LIMIT, || Ok(self.ctr(&list).ok())).map(drop)
    }
}
