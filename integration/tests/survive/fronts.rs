//! The configuration wants another front (`tree`): running containers stay on the one that they have.

use std::path::Path;

use anyhow::{Result, ensure};
use peel_integration::{
    node::{App, Container, Images, Node},
    peel::Run,
    wait,
};
use rustix::process::Signal;

use crate::load::{LIMIT, answers, node, read_anew, settings, signal, stats};

/// Has the next daemon use `tree`; gives the generation that it then serves new containers with.
fn change_to(node: &mut Node, tree: &str, expected: u64) -> Result<()> {
    node.peel()?.configure(&settings(tree))?;
    signal(node, Signal::TERM)?;
    wait::until_true("the other front", LIMIT, || {
        stats(node).is_ok_and(|stats| stats["generation"] == expected)
    })?;
    answers(node)
}

fn read(container: &Container, file: &str) -> Result<()> {
    let found = read_anew(&container.rootfs.join(file))?;
    ensure!(found.len() == 1 << 20, "{file}: {} bytes", found.len());
    Ok(())
}

fn is_mounted(node: &Node, path: &Path) -> Result<bool> {
    Ok(node.dir().mounts()?.iter().any(|mount| mount.starts_with(path)))
}

#[test]
fn fuse_to_erofs_and_back() -> Result<()> {
    let images = Images::start()?;
    let app = App::push(&images, "fronts")?;
    let mut node = node(&images, "fuse", Run::Supervised)?;
    let (image, root) = (app.image(&node), node.peel()?.root());
    node.cri().pull(&image)?;
    let first = node.start_container(&image, &[])?;
    read(&first, "data/000")?;

    change_to(&mut node, "erofs", 2)?;
    let second = node.start_container(&image, &[])?;
    ensure!(is_mounted(&node, &root.join("layers/2"))?, "the second container is not on EROFS");
    ensure!(!is_mounted(&node, &root.join("fuse/1"))?, "the first generation is in sight");
    // Cached, and never read before.
    for (container, file) in
        [(&first, "data/000"), (&second, "data/000"), (&first, "data/001"), (&second, "data/002")]
    {
        read(container, file)?;
    }
    signal(&mut node, Signal::KILL)?;
    read(&first, "data/001")?;
    read(&second, "data/001")?;

    // The first generation is what is wanted again, and lives as long as its container.
    change_to(&mut node, "fuse", 1)?;
    let third = node.start_container(&image, &[])?;
    ensure!(!is_mounted(&node, &root.join("layers"))?, "EROFS for new containers");
    for container in [&first, &second, &third] {
        read(container, "data/003")?;
    }
    let none: Vec<String> = Vec::new();
    ensure!(stats(&mut node)?["stranded_snapshots"] == serde_json::json!(none));
    node.remove(&second)?;
    wait::until_true("the second generation to end with its last container", LIMIT, || {
        node.peel().is_ok_and(|peel| peel.log().contains("FUSE connection ended: nothing used it any more"))
    })?;
    read(&first, "data/002")?;
    read(&third, "data/002")?;
    let stats = stats(&mut node)?;
    ensure!(stats["failed_reads"] == 0 && stats["lost_connections"] == 0, "{stats}");
    Ok(())
}
