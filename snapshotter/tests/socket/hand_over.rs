//! A holder keeps the daemon's FUSE connection.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command},
    time::Duration,
};

use peel_fusefs::Connection;
use peel_snapshotter::hold::Holder;
use rustix::process::{Pid, Signal, kill_process};

use super::Daemon;

/// `peel hold`; ended at the end.
struct Holding {
    child: Child,
    holder: Holder,
}

impl Holding {
    async fn start(daemon: &Daemon) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peel"));
        let child = command.arg("hold").arg("--socket").arg(daemon.holder()).spawn().unwrap();
        let holder = Holder::at(&daemon.holder());
        eventually("it holds", || holder.names().is_ok()).await;
        Self { child, holder }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} does not happen");
}

/// The connections that are mounted, by the names of their mount points.
fn mounted(daemon: &Daemon) -> BTreeMap<String, Connection> {
    let entries = fs::read_dir(daemon.root().join("fuse")).unwrap();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let found = |path: PathBuf| {
        let connection = Connection::at(&path).ok()?;
        Some((path.file_name()?.to_str()?.to_owned(), connection))
    };
    paths.into_iter().filter_map(found).collect()
}

fn stats(daemon: &Daemon) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peel"));
    let output = command.args(["stats", "--json", "--control"]).arg(daemon.control()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_outlives_the_daemon() {
    let mut daemon = Daemon::prepared();
    let holding = Holding::start(&daemon).await;
    daemon.resume().await;
    let first = mounted(&daemon);
    assert_eq!(first.keys().collect::<Vec<_>>(), ["1"]);
    assert_eq!(holding.holder.names().unwrap(), ["fuse-1", "marks"]);
    for round in 0..6 {
        if round % 2 == 0 {
            daemon.kill();
        } else {
            assert!(daemon.terminate().success());
        }
        daemon.resume().await;
        assert_eq!(mounted(&daemon), first);
    }
    assert_eq!(stats(&daemon)["lost_connections"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_is_replaced() {
    let mut daemon = Daemon::prepared();
    let holding = Holding::start(&daemon).await;
    let client = daemon.resume().await;
    mounted(&daemon)["1"].abort().unwrap();
    eventually("the next generation", || mounted(&daemon).keys().eq(["2"])).await;
    eventually("it is told", || stats(&daemon)["generation"] == 2).await;
    assert_eq!(stats(&daemon)["lost_connections"], 1);
    assert_eq!(holding.holder.names().unwrap(), ["fuse-2", "marks"]);
    client.prepare("key", "").await.unwrap();

    // Aborted while nobody looks.
    daemon.kill();
    mounted(&daemon)["2"].abort().unwrap();
    daemon.resume().await;
    assert!(mounted(&daemon).keys().eq(["3"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_command_ends_the_holder_and_a_new_one_learns() {
    let mut daemon = Daemon::prepared();
    let mut holding = Holding::start(&daemon).await;
    daemon.resume().await;
    let before = mounted(&daemon);
    let pid = Pid::from_child(&holding.child);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(pid, signal).unwrap();
    }
    assert_eq!(holding.holder.names().unwrap(), ["fuse-1", "marks"]);
    let mut stop = Command::new(env!("CARGO_BIN_EXE_peel"));
    assert!(stop.args(["hold", "--stop", "--socket"]).arg(daemon.holder()).status().unwrap().success());
    assert!(holding.child.wait().unwrap().success());
    // The daemon has the connection open: nothing is lost yet, and it tells the next holder.
    let holding = Holding::start(&daemon).await;
    eventually("the new holder knows", || holding.holder.names().unwrap() == ["fuse-1", "marks"]).await;
    daemon.kill();
    daemon.resume().await;
    assert_eq!(mounted(&daemon), before);
}
