//! A pod with ids of its own sees what it sees on overlayfs, and nothing is copied for it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use peel_fusefs::mountinfo;
use peel_integration::{
    containerd::Version,
    cri::{ContainerSpec, Pod, PodIds, PodSpec},
    equality::{Exceptions, Tree, compare, ensure_equal},
    images::{
        Entry, HandMade, Image,
        equality::{hand_made_equality_image, untimed_directories},
        small_app::base_layer,
    },
    node::{Images, Node, Snapshotter},
    wait,
};

use super::{
    ground::{answers, layer_mounts, unused_go_at_once},
    removal,
};

const NAME: &str = "userns:it";
const VOLUME: &str = "userns-volume:it";
/// A `VOLUME`'s content, which containerd copied.
const LOOK_AT_VOLUME: &str = "cd /volume && stat -c '%n %u:%g %a' . * && cat owned";
/// Not compared with overlayfs: there all of it belongs to nobody, 65534:65534 (containerd 2.1.9).
const VOLUME_SEEN: &str = ". 7:8 1770\nowned 1000:1001 640\nroot 0:0 644\nowned";

/// The kubelet gives each pod 65,536 ids; the image has owners above, as far as a plain tar header goes.
const IDS: PodIds = PodIds { host: 100_000, length: 3_000_000 };
/// Ids and file capabilities as the container has them.
const LOOK: &str =
    "cat /proc/self/uid_map; id; cd /attributes && stat -c '%n %u:%g %a' * && sha256sum /bin/busybox";

/// A pod with a network of its own needs plugins that give it one: these say that they did.
const CONFIGURATION: &str = r#"{"cniVersion":"1.0.0","name":"none","plugins":[{"type":"nothing"}]}"#;
const PLUGIN: &str = r#"#!/bin/sh
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}' ;;
ADD) echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"'$CNI_NETNS'"}],"ips":[{"address":"192.0.2.2/24","interface":0}],"routes":[],"dns":{}}' ;;
esac
"#;
const LOOPBACK: &str = r#"#!/bin/sh
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"0.3.1","supportedVersions":["0.3.1"]}' ;;
ADD) echo '{"cniVersion":"0.3.1","interfaces":[{"name":"lo","sandbox":"'$CNI_NETNS'"}],"ips":[{"version":"4","address":"127.0.0.1/8","interface":0}],"dns":{}}' ;;
esac
"#;

fn write_plugins(node: &Node) -> Result<()> {
    let folder = node.dir().make("containerd/cni")?;
    for (name, text) in [("nothing", PLUGIN), ("loopback", LOOPBACK)] {
        fs::write(folder.join(name), text)?;
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))?;
    }
    fs::write(folder.join("10-none.conflist"), CONFIGURATION)?;
    // Mapped root has to get through to its bundle.
    Ok(fs::set_permissions(node.dir().path(), fs::Permissions::from_mode(0o711))?)
}

fn run_pod(node: &Node) -> Result<Pod> {
    let pod = PodSpec {
        name: "userns".into(),
        cgroup_parent: node.dir().cgroup(),
        log_directory: node.dir().make("logs")?,
        ids: Some(IDS),
        ..PodSpec::default()
    };
    // containerd notices the plugins a moment later.
    let mut last = None;
    let started = wait::until("the network", Duration::from_secs(60), || match node.cri().run_pod(&pod) {
        Ok(pod) => Ok(Some(pod)),
        Err(error) if format!("{error:#}").contains("cni plugin not initialized") => {
            last = Some(error);
            Ok(None)
        }
        Err(error) => Err(error),
    });
    started.with_context(|| format!("{last:?}"))
}

/// A layer of its own on top of busybox, as a `VOLUME`.
fn push_volume(images: &Images) -> Result<()> {
    let entries = [
        Entry::directory("volume").mode(0o1770).owner(7, 8),
        Entry::file("volume/owned", "owned\n").mode(0o640).owner(1000, 1001),
        Entry::file("volume/root", ""),
    ];
    let layers = [base_layer()?.entries(), &entries[..]].map(|entries| HandMade::default().estargz(entries));
    let layers = layers.into_iter().collect::<Result<_>>()?;
    images.push_image(&Image::new(layers, &["/bin/busybox", "sleep", "3600"]).volume("/volume"), VOLUME)?;
    Ok(())
}

/// What a container of the image with a `VOLUME` has there.
fn look_at_volume(node: &Node, pod: &Pod) -> Result<String> {
    let image = node.image(VOLUME);
    node.cri().pull(&image)?;
    let id = node.cri().create_container(pod, &ContainerSpec::new(&image, &[]))?;
    node.cri().start_container(&id)?;
    let exec = node.cri().exec(&id, &["sh", "-c", LOOK_AT_VOLUME])?;
    ensure!(exec.exit_code == 0, "{exec:?}");
    node.cri().stop_container(&id, Duration::ZERO)?;
    node.cri().remove_container(&id)?;
    Ok(exec.text())
}

struct Seen {
    tree: Tree,
    from_inside: String,
    copied: u64,
}

fn see(
    images: &std::sync::Arc<Images>,
    version: Version,
    snapshotter: Snapshotter,
    tree: &str,
) -> Result<Seen> {
    let mut config = unused_go_at_once();
    config.insert("tree".into(), tree.into());
    let mut node =
        Node::builder(version).snapshotter(snapshotter).images(images).peel_config(config).start()?;
    write_plugins(&node)?;
    let image = node.image(NAME);
    node.cri().pull(&image)?;
    let pod = run_pod(&node)?;
    let id = node.cri().create_container(&pod, &ContainerSpec::new(&image, &[]))?;
    node.cri().start_container(&id)?;
    let rootfs = node.containerd().bundle(&id).join("rootfs");
    let exec = node.cri().exec(&id, &["sh", "-c", LOOK])?;
    ensure!(exec.exit_code == 0 && exec.text().contains("100000    3000000"), "{exec:?}");
    let copied = bytes_below(&upper_of(&rootfs)?)?;
    let write = node.cri().exec(&id, &["sh", "-c", "echo mine >/tmp/mine && stat -c %u:%g /tmp/mine"])?;
    ensure!(write.text() == "0:0", "{write:?}");
    fs::remove_file(rootfs.join("tmp/mine"))?;
    let seen = Seen { tree: Tree::read(&rootfs)?, from_inside: exec.text(), copied };
    if snapshotter == Snapshotter::Peel {
        let volume = look_at_volume(&node, &pod)?;
        ensure!(volume == VOLUME_SEEN, "{volume}");
        ensure!(layer_mounts(&mut node)?.is_empty() == (tree == "fuse"), "tree = {tree}: other mounts");
        // The container keeps its clones; the next daemon makes others when asked, and leaves none of either behind.
        node.peel()?.restart()?;
        answers(&node)?;
    }
    node.cri().stop_container(&id, Duration::ZERO)?;
    node.cri().remove_container(&id)?;
    node.cri().remove_pod(&pod.id)?;
    if snapshotter == Snapshotter::Peel {
        removal::nothing_is_left(&mut node)?;
    }
    Ok(seen)
}

/// The upper directory of a container's root.
fn upper_of(rootfs: &Path) -> Result<PathBuf> {
    let mount = mountinfo::mounts()?.into_iter().find(|mount| mount.mount_point == rootfs);
    let options = mount.context("the root is not mounted")?.options;
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="));
    Ok(upper.context("no upper directory")?.into())
}

/// Bytes of files below a directory.
fn bytes_below(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// What 2.x gives with its own overlayfs is what counts on 1.7 too: there overlayfs copies every file to change its owner,
/// which takes set-user-id and set-group-id bits away.
fn as_on_overlayfs(version: Version, trees: &[&str]) -> Result<()> {
    let images = Images::start()?;
    let layout = hand_made_equality_image(HandMade::default())?.write(&images.path().join("userns"))?;
    images.push(&layout, NAME)?;
    push_volume(&images)?;
    let expected = see(&images, Version::Sid, Snapshotter::Overlayfs, "auto")?;
    for tree in trees {
        let actual =
            see(&images, version, Snapshotter::Peel, tree).with_context(|| format!("tree = {tree}"))?;
        let (left, right) = (&expected.from_inside, &actual.from_inside);
        ensure!(left == right, "tree = {tree}: expected\n{left}\nfound\n{right}");
        ensure!(actual.copied < 65_536, "tree = {tree}: {} bytes were copied up", actual.copied);
        let report = compare(&expected.tree, &actual.tree, &Exceptions::estargz(untimed_directories()?));
        ensure_equal(&report)?;
    }
    Ok(())
}

#[test]
fn user_namespace_on_1_7() -> Result<()> {
    as_on_overlayfs(Version::Trixie, &["erofs"])
}

#[test]
fn user_namespace_on_2() -> Result<()> {
    as_on_overlayfs(Version::Sid, &["erofs", "fuse"])
}
