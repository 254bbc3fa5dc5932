//! A file that is the daemon's death: it is refused in the end, and all others are served.

use std::{fs, io, path::PathBuf, thread};

use anyhow::{Result, anyhow, ensure};
use peel_integration::{
    images::{Content, Entry, HandMade, Image, Layer, small_app::base_layer},
    node::Images,
    peel::{Launch, Run},
    wait,
};
use sha2::{Digest as _, Sha256};

use crate::load::{LIMIT, answers, node, read_anew, stats};

const FILES: u64 = 20;
const POISON: u64 = 7;

fn content(number: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Content::Noise { seed: 9_000 + number, length: 8192 }.copy_to(&mut bytes)?;
    Ok(bytes)
}

fn push(images: &Images) -> Result<()> {
    let mut entries = vec![Entry::directory("files")];
    for number in 0..FILES {
        entries.push(Entry::file(format!("files/{number}"), content(number)?));
    }
    let image = Image::new(vec![base_layer()?, Layer::gzip(entries)], &["/bin/busybox", "sleep", "3600"]);
    let layout = HandMade::default().image(&image)?.write(&images.path().join("poison"))?;
    images.push(&layout, "poison:1").map(drop)
}

/// Everybody's reads end, and those of the others end well, while the file is the death of a thread or the process.
fn one_file_is_refused(tree: &str, place: &str, what: &str) -> Result<()> {
    let images = Images::start()?;
    push(&images)?;
    let digest: String = Sha256::digest(content(POISON)?).iter().map(|byte| format!("{byte:02x}")).collect();
    let failpoint = ("PEEL_FAILPOINT".to_owned(), format!("{place} sha256:{digest}={what}"));
    let launch = Launch { run: Run::Supervised, environment: vec![failpoint], ..Launch::default() };
    let mut node = node(&images, tree, launch)?;
    let image = node.image("poison:1");
    // It is fetched along with its neighbours, at the latest when the container starts: containerd may meet a daemon
    // that is just dying, and is asked again, as a kubelet does.
    let container = wait::until("a container", LIMIT, || {
        Ok(node.cri().pull(&image).and_then(|_| node.start_container(&image, &[])).ok())
    })?;
    let path = |number: u64| container.rootfs.join(format!("files/{number}"));
    let read = |path: PathBuf| thread::spawn(move || fs::read(path));
    let readers: Vec<_> = (0..FILES).map(|number| read(path(number))).collect();
    let ended =
        wait::until_true("all readers to end", LIMIT, || readers.iter().all(thread::JoinHandle::is_finished));
    if ended.is_err() {
        node.dir().abort_fuse()?;
    }
    ended?;
    for (number, reader) in (0..).zip(readers) {
        let outcome: io::Result<Vec<u8>> = reader.join().map_err(|_| anyhow!("a reader panicked"))?;
        match outcome {
            Ok(found) => ensure!(number != POISON && found == content(number)?, "file {number}"),
            Err(error) => ensure!(number == POISON && is_eio(&error), "file {number}: {error}"),
        }
    }
    // Nobody dies of it any more, and it is still refused.
    let after = node.peel()?.server_pid()?;
    ensure!(read_anew(&path(POISON)).is_err());
    ensure!(read_anew(&path(POISON + 1))? == content(POISON + 1)?);
    ensure!(node.peel()?.server_pid()? == after);
    let log = node.peel()?.log();
    ensure!(log.contains("being executed whenever the daemon died") == (what == "abort"), "{log}");
    ensure!(what == "panic" || log.matches("the command ended and is started again").count() >= 3, "{log}");
    answers(&node)?;
    let other = node.start_container(&image, &[])?;
    node.remove(&other)?;
    ensure!(stats(&mut node)?["generation"] == 1);
    Ok(())
}

fn is_eio(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

#[test]
fn decoding_kills_under_the_kernels_tree() -> Result<()> {
    one_file_is_refused("erofs", "decode", "abort")
}

#[test]
fn decoding_kills_under_the_fuse_tree() -> Result<()> {
    one_file_is_refused("fuse", "decode", "abort")
}

#[test]
fn reading_kills_under_the_kernels_tree() -> Result<()> {
    one_file_is_refused("erofs", "read", "abort")
}

#[test]
fn reading_kills_under_the_fuse_tree() -> Result<()> {
    one_file_is_refused("fuse", "read", "abort")
}

#[test]
fn threads_panic() -> Result<()> {
    one_file_is_refused("erofs", "decode", "panic")?;
    one_file_is_refused("fuse", "read", "panic")
}
