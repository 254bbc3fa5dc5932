//! Metadata that are damaged: the daemon says so and the way out, and that way leads out.

use std::{fs, os::unix::fs::FileExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    images::{HandMade, Image, Layer, small_app::base_layer},
    node::{Images, Node},
    peel::{Run, binary},
    wait,
};
use rustix::process::Signal;

use crate::load::{LIMIT, answers, node, stats};

/// Runs `peel reset`: whether it succeeded, and what it said.
fn reset(root: &Path) -> Result<(bool, String)> {
    let mut command = Command::new(binary()?);
    command.arg("reset").arg("--root").arg(root).arg("--holder").arg(root.with_file_name("hold.sock"));
    let output = command.output()?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok((output.status.success(), said.concat()))
}

/// As what `peel reset` says is to be done.
fn make_containerd_forget(node: &Node) -> Result<()> {
    let list = |what: &[&str]| -> Result<Vec<String>> {
        Ok(node.ctr(what)?.split_whitespace().map(str::to_owned).collect())
    };
    for container in list(&["containers", "ls", "-q"])? {
        node.ctr(&["containers", "rm", &container])?;
    }
    for image in list(&["images", "ls", "-q"])? {
        node.ctr(&["images", "rm", "--sync", &image])?;
    }
    // The collection that the last removal began may still be under way.
    wait::until_true("containerd to forget all snapshots", LIMIT, || {
        list(&["snapshots", "--snapshotter", "peel", "ls"])
            .is_ok_and(|words| !words.concat().contains("sha256:"))
    })
}

#[test]
fn damaged_metadata_are_given_up() -> Result<()> {
    let images = Images::start()?;
    let image = Image::new(vec![base_layer()?, Layer::gzip(vec![])], &["/bin/busybox", "sleep", "3600"]);
    let layout = HandMade::default().image(&image)?.write(&images.path().join("reset"))?;
    images.push(&layout, "reset:1")?;
    let mut node = node(&images, "auto", Run::Supervised)?;
    let image = node.image("reset:1");
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &[])?;

    let root = node.peel()?.root();
    let (done, said) = reset(&root)?;
    ensure!(!done && said.contains(&container.id), "{said}");
    node.remove(&container)?;
    let (done, said) = reset(&root)?;
    ensure!(!done && said.contains("stop the daemon first"), "{said}");

    node.peel()?.freeze(true)?;
    node.peel()?.signal_server(Signal::KILL)?;
    let lock = fs::File::open(root.join("lock"))?;
    wait::until_true("the daemon's end", LIMIT, || lock.try_lock().is_ok())?;
    fs::File::options().write(true).open(root.join("metadata.redb"))?.write_all_at(&[0x5a; 4096], 0)?;
    drop(lock);
    // Its supervisor starts it for ever, and keeps its connection.
    node.peel()?.freeze(false)?;
    let expected = format!("`peel reset --root {}`", root.display());
    let said = |log: &str| log.contains("metadata.redb is damaged") && log.contains(&expected);
    wait::until_true("the way out", LIMIT, || node.peel().is_ok_and(|peel| said(&peel.log())))?;
    ensure!(reset(root.parent().context("a root")?)?.1.contains("is no state directory of Peel"));
    let (done, said) = reset(&root)?;
    ensure!(done && said.contains("images rm --sync"), "{said}");

    answers(&node)?;
    let stats = stats(&mut node)?;
    ensure!(
        stats["generation"] == 1 && stats["cached_disk_bytes"] == 0,
        "it goes on with something: {stats}"
    );
    // What containerd remembers is gone: this is what the images have to be removed for.
    ensure!(node.start_container(&image, &[]).is_err());
    make_containerd_forget(&node)?;
    let sandbox = images.sandbox_reference();
    [&sandbox, &image].into_iter().try_for_each(|image| node.cri().pull(image).map(drop))?;
    let container = node.start_container(&image, &[])?;
    node.remove(&container)
}
