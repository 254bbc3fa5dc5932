//! The daemon dies at any instruction, and nothing that it answered is lost.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Daemon, Mounted, client::labels};

#[tokio::test(flavor = "multi_thread")]
async fn no_answered_change_is_lost() {
    let (mut daemon, mut client) = Daemon::start().await;
    let mut committed: Vec<String> = Vec::new();
    for round in 0..8 {
        let answered = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let (client, answered) = (client.clone(), Arc::clone(&answered));
                tokio::spawn(async move {
                    for number in 0.. {
                        let (key, name) =
                            (format!("k {round} {task} {number}"), format!("c {round} {task} {number}"));
                        if client.prepare(&key, "").await.is_err()
                            || client.commit(&name, &key).await.is_err()
                        {
                            return;
                        }
                        answered.lock().unwrap().push(name);
                    }
                })
            })
            .collect();
        // Each round dies at another moment, when something was answered.
        let something = async {
            while answered.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), something).await.expect("no answer");
        tokio::time::sleep(Duration::from_millis(20 + 13 * round)).await;
        daemon.kill();
        for task in tasks {
            task.await.unwrap();
        }
        client = daemon.resume().await;
        committed.append(&mut answered.lock().unwrap());
        let names = client.names(&["kind==committed"]).await;
        for name in &committed {
            assert!(names.binary_search(name).is_ok(), "{name} is lost");
        }
        let mut all = client.list(&[]).await.unwrap().len();
        assert_eq!(daemon.directories().len(), all, "directories and snapshots differ");
        // What was committed right before the answer could be sent is there, too.
        for name in names {
            client.view(&format!("view {name}"), &name).await.unwrap();
            client.remove(&format!("view {name}")).await.unwrap();
        }
        for active in client.names(&["kind==active"]).await {
            client.remove(&active).await.unwrap();
            all -= 1;
        }
        assert_eq!(daemon.directories().len(), all);
    }
    assert!(!committed.is_empty());
}

#[tokio::test]
async fn everything_is_found_again() {
    let (mut daemon, client) = Daemon::start().await;
    client.layer("base", "", |root| fs::write(root.join("file"), "content").unwrap()).await;
    client.prepare_with("active", "base", labels([("a", "b")])).await.unwrap();
    fs::write(Mounted::new(&client.mounts("active").await.unwrap()).path().join("mine"), "x").unwrap();
    client.prepare("removed", "base").await.unwrap();
    client.remove("removed").await.unwrap();
    let before = client.list(&[]).await.unwrap();
    let ended = daemon.terminate();
    assert!(ended.success(), "{ended}");
    assert!(!daemon.socket().exists(), "the socket is left behind");
    let client = daemon.resume().await;
    assert_eq!(client.list(&[]).await.unwrap(), before);
    let mounted = Mounted::new(&client.mounts("active").await.unwrap());
    assert_eq!(fs::read_to_string(mounted.path().join("file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(mounted.path().join("mine")).unwrap(), "x");
    drop(mounted);
    client.prepare("new", "").await.unwrap();
    assert_eq!(daemon.directories().len(), 3, "an id was used twice, or a directory is left");
}

#[tokio::test]
async fn orphans_go() {
    let (mut daemon, client) = Daemon::start().await;
    client.prepare("key", "").await.unwrap();
    daemon.kill();
    for orphan in ["99/fs/deep/er", "strange name/x"] {
        fs::create_dir_all(daemon.root().join("snapshots").join(orphan)).unwrap();
    }
    let client = daemon.resume().await;
    assert_eq!(daemon.directories().len(), 1);
    client.cleanup().await.unwrap();
    assert!(daemon.trash().is_empty());
    assert!(client.mounts("key").await.is_ok());
}

#[tokio::test]
async fn only_root_may_dial() {
    let (daemon, _client) = Daemon::start().await;
    assert_eq!(fs::metadata(daemon.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let (daemon, client) = Daemon::start().await;
    let second = daemon.command().stderr(std::process::Stdio::piped()).output().unwrap();
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("in use"), "{text}");
    client.prepare("key", "").await.unwrap();
}

#[tokio::test]
async fn damage_is_named_with_a_way_out() {
    let (mut daemon, client) = Daemon::start().await;
    client.layer("base", "", |_| {}).await;
    daemon.kill();
    let file = daemon.root().join("metadata.redb");
    let good = fs::read(&file).unwrap();
    let half = good[..good.len() / 2].to_vec();
    let zeros = vec![0; good.len()];
    for bad in [b"not a database".to_vec(), half, zeros] {
        fs::write(&file, &bad).unwrap();
        let refused = daemon.command().stderr(std::process::Stdio::piped()).output().unwrap();
        assert!(!refused.status.success());
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            text.contains("metadata.redb is damaged") && text.contains("docs/metadata-format.md"),
            "{text}"
        );
    }
    fs::write(&file, good).unwrap();
    let client = daemon.resume().await;
    assert_eq!(client.names(&[]).await, ["base"]);
}
