//! What containerd's suite leaves out: paging, usage, cleanup, codes, and input that means harm.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tonic::Code;

use super::{Client, Daemon, Mounted, client::labels};

#[tokio::test]
async fn an_empty_store_is_an_empty_stream() {
    let (_daemon, client) = Daemon::start().await;
    assert!(client.pages(&[]).await.unwrap().is_empty());
    assert!(client.pages(&["name==x"]).await.unwrap().is_empty());
    assert_eq!(client.pages(&["name==\"x"]).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_list_comes_in_pages_of_a_hundred() {
    let (_daemon, client) = Daemon::start().await;
    let mut last = 0;
    for (count, pages) in [(100, &[100][..]), (101, &[100, 1]), (250, &[100, 100, 50])] {
        for number in last..count {
            client.view_with(&format!("k{number:04}"), "", labels([("n", "1")])).await.unwrap();
        }
        last = count;
        let answer = client.pages(&[]).await.unwrap();
        assert_eq!(answer.iter().map(Vec::len).collect::<Vec<_>>(), pages);
        let names: Vec<_> = answer.into_iter().flatten().map(|info| info.name).collect();
        assert_eq!(names, (0..count).map(|number| format!("k{number:04}")).collect::<Vec<_>>());
    }
    assert_eq!(client.names(&["name~=9$,labels.n"]).await.len(), 25);
}

#[tokio::test]
async fn usage_counts_the_upper_directory_only() {
    let (_daemon, client) = Daemon::start().await;
    client
        .layer("base", "", |root| {
            fs::write(root.join("a"), vec![1; 1 << 20]).unwrap();
            fs::hard_link(root.join("a"), root.join("b")).unwrap();
        })
        .await;
    let base = client.usage("base").await.unwrap();
    assert_eq!(base.inodes, 2, "the root and one file");
    assert!((1 << 20..2 << 20).contains(&base.size), "{base:?}");

    let mounts = client.prepare("active", "base").await.unwrap();
    assert_eq!(client.usage("active").await.unwrap().inodes, 1);
    let mounted = Mounted::new(&mounts);
    fs::write(mounted.path().join("c"), vec![1; 300_000]).unwrap();
    let active = client.usage("active").await.unwrap();
    assert_eq!(active.inodes, 2);
    assert!((300_000..1 << 20).contains(&active.size), "{active:?}");
    drop(mounted);
    client.commit("upper", "active").await.unwrap();
    assert_eq!(client.usage("upper").await.unwrap(), active);
    client.view("view", "upper").await.unwrap();
    assert_eq!(client.usage("view").await.unwrap(), <_>::default());
    assert_eq!(client.usage("nothing").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn cleanup_leaves_nothing() {
    let (daemon, client) = Daemon::start().await;
    for number in 0..5 {
        let key = format!("key {number}");
        let mounted = Mounted::new(&client.prepare(&key, "").await.unwrap());
        fs::create_dir_all(mounted.path().join("a/b/c")).unwrap();
        fs::write(mounted.path().join("a/b/file"), "x").unwrap();
        fs::set_permissions(mounted.path().join("a"), fs::Permissions::from_mode(0o000)).unwrap();
        drop(mounted);
        client.remove(&key).await.unwrap();
        assert!(daemon.directories().is_empty());
    }
    client.cleanup().await.unwrap();
    assert!(daemon.trash().is_empty());
    client.cleanup().await.unwrap();
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let (_daemon, client) = Daemon::start().await;
    client.layer("base", "", |_| {}).await;
    client.layer("other", "", |_| {}).await;
    client.prepare("active", "base").await.unwrap();
    client.prepare("rootless", "").await.unwrap();
    client.view("view", "base").await.unwrap();
    let none = || labels([]);
    for (what, code, expected) in [
        ("unknown parent", client.prepare("x", "no").await.map(drop), Code::NotFound),
        ("unknown parent of a view", client.view("x", "no").await.map(drop), Code::NotFound),
        ("active parent", client.prepare("x", "active").await.map(drop), Code::InvalidArgument),
        ("view as parent", client.view("x", "view").await.map(drop), Code::InvalidArgument),
        ("empty key", client.prepare("", "").await.map(drop), Code::InvalidArgument),
        ("mounts of nothing", client.mounts("no").await.map(drop), Code::NotFound),
        ("mounts of a committed one", client.mounts("base").await.map(drop), Code::FailedPrecondition),
        ("commit of nothing", client.commit("x", "no").await, Code::NotFound),
        ("commit of a view", client.commit("x", "view").await, Code::FailedPrecondition),
        ("commit of a committed one", client.commit("x", "base").await, Code::FailedPrecondition),
        ("commit to a taken name", client.commit("base", "active").await, Code::AlreadyExists),
        ("commit to an empty name", client.commit("", "active").await, Code::InvalidArgument),
        ("rebase", client.commit_upon("x", "active", "other", none()).await, Code::InvalidArgument),
        ("rebase upon nothing", client.commit_upon("x", "rootless", "no", none()).await, Code::NotFound),
        (
            "upon active",
            client.commit_upon("x", "rootless", "active", none()).await,
            Code::FailedPrecondition,
        ),
        ("remove of nothing", client.remove("no").await, Code::NotFound),
        ("stat of nothing", client.stat("no").await.map(drop), Code::NotFound),
        ("bad filter", client.list(&["name=x"]).await.map(drop), Code::InvalidArgument),
    ] {
        let status = code.expect_err(what);
        assert_eq!(status.code(), expected, "{what}: {status}");
    }
    client.commit_upon("same", "active", "base", none()).await.unwrap();
    client.commit_upon("rebased", "rootless", "base", none()).await.unwrap();
    assert_eq!(client.stat("rebased").await.unwrap().parent, "base");
    assert_eq!(client.remove("base").await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn keys_are_opaque() {
    let (_daemon, client) = Daemon::start().await;
    let keys = [
        "default/1/extract-46696217--6eU sha256:5aa4",
        "k8s.io/5//run/containerd/io.containerd.grpc.v1.cri/image-volumes/x",
        "k8s.io/4/sha256:b4c4-remap",
        "../../../etc/passwd",
        "/",
        "..",
        "a\0b\nc",
        "ключ \u{1f600}",
        "100%s",
    ];
    for key in keys {
        let mounts = client.prepare(key, "").await.unwrap();
        fs::write(Mounted::new(&mounts).path().join("file"), key).unwrap();
        let name = format!("{key}'");
        client.commit(&name, key).await.unwrap();
        let mounted = Mounted::new(&client.view(key, &name).await.unwrap());
        assert_eq!(fs::read_to_string(mounted.path().join("file")).unwrap(), key);
        assert_eq!(client.stat(key).await.unwrap().parent, name);
    }
    assert_eq!(client.list(&[]).await.unwrap().len(), 2 * keys.len());
}

#[tokio::test]
async fn hostile_labels_are_only_labels() {
    let (_daemon, client) = Daemon::start().await;
    let digest = format!("sha256:{}", "ab".repeat(32));
    // What a pod's annotations bring to its sandbox's Prepare (contract §2.3).
    let forged = labels([
        ("containerd.io/snapshot.ref", &digest),
        ("containerd.io/snapshot/cri.image-ref", "evil.example/x:1"),
        ("containerd.io/snapshot/cri.layer-digest", &digest),
        ("containerd.io/snapshot/cri.manifest-digest", &digest),
        ("containerd.io/snapshot/cri.image-layers", &digest),
        ("containerd.io/snapshot/uidmapping", "0:1000:1"),
    ]);
    client.prepare_with("k8s.io/1/sandbox", "", forged.clone()).await.unwrap();
    assert_eq!(client.stat("k8s.io/1/sandbox").await.unwrap().labels, forged);
    assert_eq!(client.list(&["kind==committed"]).await.unwrap(), []);

    let long = labels([("containerd.io/snapshot/x", &"y".repeat(4096))]);
    assert_eq!(client.prepare_with("x", "", long).await.unwrap_err().code(), Code::InvalidArgument);
    let empty = labels([("set", "x"), ("empty", "")]);
    client.prepare_with("x", "", empty).await.unwrap();
    assert_eq!(client.stat("x").await.unwrap().labels, labels([("set", "x")]));
}

#[tokio::test]
async fn large_messages_pass() {
    let (_daemon, client) = Daemon::start().await;
    // tonic's own limit is 4 MiB, containerd's 16.
    let many = (0..1500).map(|number| (format!("label {number}"), "x".repeat(4000))).collect();
    client.prepare_with("key", "", many).await.unwrap();
    assert_eq!(client.stat("key").await.unwrap().labels.len(), 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_gets_the_key() {
    let (daemon, client) = Daemon::start().await;
    let calls = (0..50).map(|_| {
        let client: Client = client.clone();
        tokio::spawn(async move { client.prepare("key", "").await })
    });
    let answers = futures::future::join_all(calls).await;
    let won = answers.into_iter().map(Result::unwrap).filter(|answer| match answer {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::AlreadyExists);
            false
        }
    });
    assert_eq!(won.count(), 1);
    assert_eq!(daemon.directories().len(), 1);
}
