//! The daemon dies at each step of a change, and what it leaves fits together.

use std::{collections::HashSet, fs, time::Duration};

use super::{Client, Daemon};

/// A change, and what it may have led to.
#[derive(Debug, Clone, Copy)]
enum Change {
    Prepare,
    Commit,
    Remove,
    Cleanup,
}

const STEPS: [(Change, &str); 7] = [
    (Change::Prepare, "prepare: directories made"),
    (Change::Prepare, "prepare: stored"),
    (Change::Commit, "commit: measured"),
    (Change::Commit, "commit: stored"),
    (Change::Remove, "remove: stored"),
    (Change::Remove, "remove: discarded"),
    (Change::Cleanup, "cleanup: a directory"),
];

async fn ended(daemon: &mut Daemon) {
    for _ in 0..6000 {
        if daemon.has_ended() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the daemon goes on");
}

/// The change that dies.
async fn attempt(change: Change, client: &Client) -> bool {
    match change {
        Change::Prepare => client.prepare("new", "base").await.is_ok(),
        Change::Commit => client.commit("committed", "active").await.is_ok(),
        Change::Remove => client.remove("active").await.is_ok(),
        Change::Cleanup => client.remove("active").await.is_ok() && client.cleanup().await.is_ok(),
    }
}

/// Whether all of it is there, or nothing.
fn fits(change: Change, names: &HashSet<String>) -> bool {
    let has = |name: &str| names.contains(name);
    let others = match change {
        Change::Prepare => has("active"),
        Change::Commit => has("active") != has("committed") && !has("new"),
        Change::Remove | Change::Cleanup => !has("new"),
    };
    others && has("base")
}

#[tokio::test]
async fn at_every_step() {
    for (change, step) in STEPS {
        let (mut daemon, client) = Daemon::start().await;
        client.layer("base", "", |root| fs::write(root.join("file"), "content").unwrap()).await;
        client.prepare("active", "base").await.unwrap();
        assert!(daemon.terminate().success());
        let marker = daemon.root().with_file_name("died");
        daemon.set_failpoint(format!("{step}={}", marker.display()));
        let client = daemon.resume().await;
        attempt(change, &client).await;
        ended(&mut daemon).await;
        assert!(marker.exists(), "{step} was not reached");
        let client = daemon.resume().await;
        let names: HashSet<String> = client.names(&[]).await.into_iter().collect();
        assert!(fits(change, &names), "{step}: {names:?}");
        assert_eq!(
            daemon.directories().len(),
            names.len(),
            "{step}: a directory without a snapshot, or the reverse"
        );
        for active in client.names(&["kind==active"]).await {
            assert!(client.mounts(&active).await.is_ok(), "{step}: {active} cannot be mounted");
        }
        // Done again, it is done.
        attempt(change, &client).await;
        let again: HashSet<String> = client.names(&[]).await.into_iter().collect();
        let done = match change {
            Change::Prepare => again.contains("new"),
            Change::Commit => again.contains("committed") && !again.contains("active"),
            Change::Remove | Change::Cleanup => !again.contains("active"),
        };
        assert!(done, "{step}: {again:?}");
        client.cleanup().await.unwrap();
        assert!(daemon.trash().is_empty(), "{step}: {:?}", daemon.trash());
        assert_eq!(daemon.directories().len(), again.len(), "{step}");
    }
}
