//! The watermarks follow the configuration.

use anyhow::{Result, ensure};
use peel_integration::{peel::Run, wait};
use rustix::process::Signal;

use crate::ground::{Ground, SOON, read_all, used_percent};

#[test]
fn watermarks_follow_a_reload() -> Result<()> {
    let mut ground = Ground::start(Run::Alone)?;
    read_all(&ground.containers[0], 0)?;
    let root = ground.root()?;
    let before = used_percent(&root)?;
    ensure!(before > 35.0 && ground.stats()?["evicted_chunks"] == 0, "{before} %");

    let peel = ground.node.peel()?;
    let pid = peel.server_pid()?;
    let settings = "[cache]\nhigh_percent = 30\nlow_percent = 25\n[fuse]\nthreads = 9";
    peel.configure(&settings.parse()?)?;
    peel.signal_server(Signal::HUP)?;
    wait::until("the new low watermark", 2 * SOON, || Ok((used_percent(&root)? <= 25.0).then_some(())))?;
    read_all(&ground.containers[0], 0)?;
    let used = used_percent(&root)?;
    ensure!(used <= 34.0, "{used} %: chunks are stored above the new high watermark");
    let peel = ground.node.peel()?;
    let log = peel.log();
    ensure!(log.contains("these changed and need a restart") && log.contains("keys=\"fuse\""), "{log}");
    ensure!(peel.server_pid()? == pid, "a reload restarted the daemon");
    ground.check_stats()
}
