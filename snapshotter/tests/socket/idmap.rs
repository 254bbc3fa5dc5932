//! Containers in user namespaces: the layers come shifted, whatever containerd would do itself.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, lchown},
};

use super::{Daemon, Mounted, client::labels};

const UIDS: &str = "containerd.io/snapshot/uidmapping";
const GIDS: &str = "containerd.io/snapshot/gidmapping";

#[tokio::test]
async fn layers_are_shifted_and_go_with_the_container() {
    let (daemon, client) = Daemon::start().await;
    client
        .layer("lower", "", |root| {
            fs::write(root.join("roots"), "r").unwrap();
            fs::write(root.join("users"), "u").unwrap();
            lchown(root.join("users"), Some(7), Some(9)).unwrap();
        })
        .await;
    client.layer("upper", "lower", |root| fs::write(root.join("above"), "a").unwrap()).await;

    let mapping = labels([(UIDS, "0:100000:65536"), (GIDS, "0:200000:65536")]);
    client.prepare_with("container", "upper", mapping).await.unwrap();
    {
        let mounted = Mounted::new(&client.mounts("container").await.unwrap());
        let owner = |name: &str| {
            let metadata = fs::symlink_metadata(mounted.path().join(name)).unwrap();
            (metadata.uid(), metadata.gid())
        };
        assert_eq!(owner(""), (100_000, 200_000), "the root belongs to the pod's root");
        assert_eq!(owner("roots"), (100_000, 200_000));
        assert_eq!(owner("users"), (100_007, 200_009));
        assert_eq!(fs::read(mounted.path().join("above")).unwrap(), b"a");
        // Asked again, it is the same.
        assert_eq!(client.mounts("container").await.unwrap(), client.mounts("container").await.unwrap());
    }
    // Another container of the same layers is not shifted.
    client.prepare("other", "upper").await.unwrap();
    let other = Mounted::new(&client.mounts("other").await.unwrap());
    assert_eq!(fs::symlink_metadata(other.path().join("users")).unwrap().uid(), 7);

    client.remove("container").await.unwrap();
    let left = fs::read_dir(daemon.root().join("idmapped")).unwrap().count();
    assert_eq!(left, 0, "clones are left behind");
}

#[tokio::test]
async fn a_mapping_that_is_none_is_refused_and_an_image_cannot_bring_one() {
    let (_daemon, client) = Daemon::start().await;
    let wrong = labels([(UIDS, "0:100000:0"), (GIDS, "0:1:1")]);
    let error = client.prepare_with("container", "", wrong).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument, "{error}");
    assert!(error.message().contains("uidmapping"), "{error}");
    // Layer annotations of an image come with the Prepare of an extraction.
    let target = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let hostile = labels([(UIDS, "0:1000:1"), (GIDS, "0:1000:1"), ("containerd.io/snapshot.ref", target)]);
    let mounts = client.prepare_with("default/1/extract-1-aaaa x", "", hostile).await.unwrap();
    let mounted = Mounted::new(&mounts);
    assert_eq!(fs::symlink_metadata(mounted.path()).unwrap().uid(), 0);
}
