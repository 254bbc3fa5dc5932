//! containerd's suite: what snapshots are, and how they depend on each other.

use std::{collections::BTreeMap, fs};

use peel_proto::containerd::services::snapshots::v1::{Info, Kind};
use tonic::Code;

use super::{Daemon, Mounted, client::labels, tree::describe};

fn nanoseconds(time: Option<prost_types::Timestamp>) -> i128 {
    let time = time.unwrap();
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}

fn now() -> i128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i128::try_from(since.as_nanos()).unwrap()
}

#[tokio::test]
async fn basic() {
    let (_daemon, client) = Daemon::start().await;
    let mounts = client.prepare_with("first", "", labels([("containerd.io/gc.root", "1")])).await.unwrap();
    {
        let mounted = Mounted::new(&mounts);
        fs::write(mounted.path().join("foo"), "foo\n").unwrap();
        fs::create_dir_all(mounted.path().join("a/b/c")).unwrap();
    }
    client.commit_upon("committed", "first", "", labels([("containerd.io/gc.root", "2")])).await.unwrap();
    let committed = client.stat("committed").await.unwrap();
    assert_eq!((committed.kind(), committed.parent.as_str()), (Kind::Committed, ""));
    assert_eq!(committed.labels, labels([("containerd.io/gc.root", "2")]));
    assert_eq!(client.stat("first").await.unwrap_err().code(), Code::NotFound);

    let mounts = client.prepare("second", "committed").await.unwrap();
    let expected = {
        let mounted = Mounted::new(&mounts);
        assert_eq!(fs::read_to_string(mounted.path().join("foo")).unwrap(), "foo\n");
        assert!(mounted.path().join("a/b/c").is_dir());
        fs::write(mounted.path().join("bar"), "bar\n").unwrap();
        fs::write(mounted.path().join("foo"), "new").unwrap();
        fs::remove_dir_all(mounted.path().join("a/b")).unwrap();
        describe(mounted.path())
    };
    let second = client.stat("second").await.unwrap();
    assert_eq!((second.kind(), second.parent.as_str()), (Kind::Active, "committed"));
    client.commit("committed 2", "second").await.unwrap();
    let upper = client.stat("committed 2").await.unwrap();
    assert_eq!((upper.kind(), upper.parent.as_str()), (Kind::Committed, "committed"));
    assert_eq!(client.list(&[]).await.unwrap(), [committed, upper]);

    let mounts = client.view("view", "committed 2").await.unwrap();
    assert_eq!(describe(Mounted::new(&mounts).path()), expected);
    client.remove("view").await.unwrap();
    let refused = client.remove("committed").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("remove"), "{refused}");
    client.remove("committed 2").await.unwrap();
    client.remove("committed").await.unwrap();
    assert_eq!(client.list(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn stat_active_and_committed() {
    let (_daemon, client) = Daemon::start().await;
    client.prepare("active", "").await.unwrap();
    let active = client.stat("active").await.unwrap();
    assert_eq!((active.name.as_str(), active.parent.as_str(), active.kind()), ("active", "", Kind::Active));
    client.commit("committed", "active").await.unwrap();
    let info = client.stat("committed").await.unwrap();
    assert_eq!((info.name.as_str(), info.parent.as_str(), info.kind()), ("committed", "", Kind::Committed));
}

#[tokio::test]
async fn parents_are_transitive() {
    let (_daemon, client) = Daemon::start().await;
    client.layer("a", "", |_| {}).await;
    client.layer("b", "a", |_| {}).await;
    client.prepare("c", "b").await.unwrap();
    let mut chain = vec!["c".to_owned()];
    loop {
        let parent = client.stat(chain.last().unwrap()).await.unwrap().parent;
        if parent.is_empty() {
            break;
        }
        chain.push(parent);
    }
    assert_eq!(chain, ["c", "b", "a"]);
}

#[tokio::test]
async fn a_used_key_cannot_be_used_again() {
    let (daemon, client) = Daemon::start().await;
    client.layer("base", "", |_| {}).await;
    client.prepare("active", "base").await.unwrap();
    client.view("view", "base").await.unwrap();
    for used in ["active", "view", "base"] {
        for parent in ["", "base"] {
            assert_eq!(client.prepare(used, parent).await.unwrap_err().code(), Code::AlreadyExists);
            assert_eq!(client.view(used, parent).await.unwrap_err().code(), Code::AlreadyExists);
        }
    }
    assert_eq!(daemon.directories().len(), 3, "a refused call leaves no directory");
}

#[tokio::test]
async fn update() {
    let (_daemon, client) = Daemon::start().await;
    client.layer("base", "", |_| {}).await;
    let before = now();
    for name in ["c1", "c2"] {
        client.prepare(&format!("key {name}"), "base").await.unwrap();
        let given = labels([("l1", "v1"), ("l2", "v2"), ("l3", "v3")]);
        client.commit_upon(name, &format!("key {name}"), "", given).await.unwrap();
    }
    for (active, view) in [("a1", "v1"), ("a2", "v2")] {
        let given = labels([("l1", "v1"), ("l2", "v2"), ("l3", "v3")]);
        client.prepare_with(active, "c1", given.clone()).await.unwrap();
        client.view_with(view, "c1", given).await.unwrap();
    }
    let after = now();
    for name in ["c1", "c2", "a1", "a2", "v1", "v2"] {
        let original = client.stat(name).await.unwrap();
        assert!((before..=after).contains(&nanoseconds(original.created_at)));
        assert_eq!(original.created_at, original.updated_at);

        let mut last = original.clone();
        let mut step = async |given: BTreeMap<String, String>,
                              paths: &[&str],
                              want: BTreeMap<String, String>| {
            let bogus =
                Info { name: name.to_owned(), parent: "bogus".into(), labels: given, ..Default::default() };
            let answer = client.update(bogus, paths).await.unwrap();
            assert_eq!(answer, client.stat(name).await.unwrap());
            assert_eq!(answer.labels, want, "{paths:?}");
            assert_eq!((answer.created_at, &answer.parent), (original.created_at, &original.parent));
            assert_eq!((answer.kind, &answer.name), (original.kind, &original.name));
            assert!(nanoseconds(answer.updated_at) > nanoseconds(last.updated_at));
            last = answer;
        };
        step(labels([("l1", "n"), ("l2", "x")]), &[], labels([("l1", "n"), ("l2", "x")])).await;
        step(labels([("l1", "up"), ("l9", "no")]), &["labels.l1", "labels.l2"], labels([("l1", "up")])).await;
        step(labels([("l1", ""), ("l.3", "v")]), &["labels.l1", "labels.l.3"], labels([("l.3", "v")])).await;
        step(labels([("only", "one")]), &["labels"], labels([("only", "one")])).await;
        step(labels([]), &[], labels([])).await;

        for path in ["parent", "name", "kind", "created_at", "labels.", "label", ""] {
            let info = Info { name: name.to_owned(), parent: "base".into(), ..Default::default() };
            assert_eq!(
                client.update(info, &[path]).await.unwrap_err().code(),
                Code::InvalidArgument,
                "{path}"
            );
        }
    }
    let nothing = Info { name: "nothing".into(), ..Default::default() };
    assert_eq!(client.update(nothing, &[]).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_removed_key_can_be_used_at_once() {
    let (_daemon, client) = Daemon::start().await;
    client.layer("c1", "", |_| {}).await;
    client.layer("c2", "", |_| {}).await;
    client.prepare("key", "c1").await.unwrap();
    client.remove("key").await.unwrap();
    client.view("key", "c2").await.unwrap();
    assert_eq!(client.stat("key").await.unwrap().kind(), Kind::View);
    client.remove("key").await.unwrap();
    client.prepare("key", "").await.unwrap();
    client.commit("c3", "key").await.unwrap();
    client.remove("c3").await.unwrap();
    client.layer("c3", "c1", |_| {}).await;
    assert_eq!(client.stat("c3").await.unwrap().parent, "c1");
}

#[tokio::test]
async fn walk() {
    let (_daemon, client) = Daemon::start().await;
    for (name, parent) in [("c1", ""), ("c2", "c1")] {
        client.prepare(&format!("k{name}"), parent).await.unwrap();
        client.commit_upon(name, &format!("k{name}"), "", labels([("l", "1"), ("a.b", "x")])).await.unwrap();
    }
    client.prepare_with("a1", "c2", labels([("l", "2")])).await.unwrap();
    client.prepare_with("a2", "", labels([("a.b", "y")])).await.unwrap();
    client.view("v1", "c1").await.unwrap();
    for (filters, expected) in [
        (&[] as &[&str], &["a1", "a2", "c1", "c2", "v1"] as &[&str]),
        (&["kind==active"], &["a1", "a2"]),
        (&["kind==view"], &["v1"]),
        (&["kind!=committed"], &["a1", "a2", "v1"]),
        (&["name==a1", "name==c1"], &["a1", "c1"]),
        (&["parent==c1"], &["c2", "v1"]),
        (&[r#"parent!="""#], &["a1", "c2", "v1"]),
        (&[r#"labels."a.b"==x"#], &["c1", "c2"]),
        (&["labels.a.b==y"], &["a2"]),
        (&["labels.l"], &["a1", "c1", "c2"]),
        (&["labels.l==2"], &["a1"]),
        (&["kind==committed,labels.l==1,parent==c1"], &["c2"]),
        (&["name~=^[ac]1$,labels.l"], &["a1", "c1"]),
        (&["nothing==x"], &[]),
    ] {
        assert_eq!(client.names(filters).await, expected, "{filters:?}");
    }
    for info in client.list(&[]).await.unwrap() {
        assert_eq!(info, client.stat(&info.name).await.unwrap());
    }
}

#[tokio::test]
async fn a_snapshot_with_children_stays() {
    let (_daemon, client) = Daemon::start().await;
    client.layer("a", "", |_| {}).await;
    client.layer("b", "a", |_| {}).await;
    client.view("c", "b").await.unwrap();
    for middle in ["a", "b"] {
        assert_eq!(client.remove(middle).await.unwrap_err().code(), Code::FailedPrecondition);
    }
    for top_down in ["c", "b", "a"] {
        client.remove(top_down).await.unwrap();
    }
}

#[tokio::test]
async fn stat_while_listing() {
    let (_daemon, client) = Daemon::start().await;
    for number in 0..250 {
        client.prepare(&format!("key {number:03}"), "").await.unwrap();
    }
    let mut stream = client.list_stream(&[]).await.unwrap();
    let mut seen = 0;
    while let Some(page) = stream.message().await.unwrap() {
        for info in page.info {
            assert_eq!(client.stat(&info.name).await.unwrap(), info);
            client.remove(&info.name).await.unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 250);
}

#[tokio::test]
async fn clients_come_and_go() {
    let (daemon, client) = Daemon::start().await;
    client.prepare("key", "").await.unwrap();
    drop(client);
    for _ in 0..3 {
        let again = super::Client::connect(&daemon.socket()).await.unwrap();
        assert_eq!(again.stat("key").await.unwrap().name, "key");
    }
}
