//! containerd's suite: what is mounted.

use std::{fs, io, os::unix::fs::PermissionsExt as _};

use super::{Daemon, Mounted};

#[tokio::test]
async fn a_new_root_is_0755() {
    let (_daemon, client) = Daemon::start().await;
    let mounted = Mounted::new(&client.prepare("key", "").await.unwrap());
    assert_eq!(fs::metadata(mounted.path()).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[tokio::test]
async fn a_view_cannot_be_written() {
    let (_daemon, client) = Daemon::start().await;
    client.layer("c1", "", |path| fs::write(path.join("foo"), "1").unwrap()).await;
    client.layer("c2", "c1", |path| fs::write(path.join("bar"), "2").unwrap()).await;
    for (key, parent) in [("v0", ""), ("v1", "c1"), ("v2", "c2")] {
        let mounted = Mounted::new(&client.view(key, parent).await.unwrap());
        let error = fs::write(mounted.path().join("new"), "x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem, "{key}");
    }
}

#[tokio::test]
async fn mounts_are_the_same_each_time() {
    let (mut daemon, mut client) = Daemon::start().await;
    client.layer("c1", "", |_| {}).await;
    client.layer("c2", "c1", |_| {}).await;
    let mut expected = Vec::new();
    for parent in ["", "c1", "c2"] {
        expected.push((format!("a{parent}"), client.prepare(&format!("a{parent}"), parent).await.unwrap()));
        expected.push((format!("v{parent}"), client.view(&format!("v{parent}"), parent).await.unwrap()));
    }
    for _ in 0..2 {
        for (key, mounts) in &expected {
            assert_eq!(&client.mounts(key).await.unwrap(), mounts, "{key}");
        }
        daemon.kill();
        client = daemon.resume().await;
    }
}

#[tokio::test]
async fn the_owner_of_the_root_is_inherited() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let (_daemon, client) = Daemon::start().await;
    client.layer("c1", "", |path| chown(path, Some(7), Some(8)).unwrap()).await;
    client.layer("c2", "c1", |_| {}).await;
    let mounted = Mounted::new(&client.prepare("a", "c2").await.unwrap());
    let root = fs::metadata(mounted.path()).unwrap();
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (7, 8, 0o755));
}
