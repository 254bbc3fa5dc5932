//! A hundred reads that wait when the daemon ends.

use std::{path::PathBuf, sync::Arc, thread};

use anyhow::{Context as _, Result, anyhow, ensure};
use peel_integration::{
    images::{Content, Entry, HandMade, Image, small_app::base_layer},
    node::{Images, Node},
    peel::Run,
    proxy::{Hold, Match},
    wait,
};
use rustix::process::Signal;

use crate::load::{LIMIT, node, read_anew, signal, stats};

const READS: u64 = 100;
const LENGTH: u64 = 8192;

fn content(number: u64) -> Content {
    Content::Noise { seed: 4_000 + number, length: LENGTH }
}

/// Readers of a file each, of whose content nothing is here.
pub(crate) struct Pending {
    hold: Hold,
    readers: Vec<thread::JoinHandle<Result<Vec<u8>>>>,
    pub(crate) files: Vec<PathBuf>,
}

impl Pending {
    /// Starts them on `node`; all wait when this returns.
    pub(crate) fn start(images: &Images, node: &Node) -> Result<Self> {
        let mut entries = vec![Entry::directory("many")];
        entries.extend((0..READS).map(|number| Entry::file(format!("many/{number}"), content(number))));
        let image = Image::new(vec![base_layer()?, peel_integration::images::Layer::gzip(entries)], &[]);
        let layout = HandMade::default().image(&image)?.write(&images.path().join("many"))?;
        images.push(&layout, "many:1")?;
        let layer = layout.manifest()?.layers.pop().context("no layers")?.digest;
        let image = node.image("many:1");
        node.cri().pull(&image)?;
        let container = node.start_container(&image, &["/bin/busybox", "sleep", "3600"])?;
        let hold = node.proxy().hold(Match::blob(&layer).from_agent("peel"));
        let read = |path: PathBuf| thread::spawn(move || read_anew(&path));
        let files: Vec<_> =
            (0..READS).map(|number| container.rootfs.join(format!("many/{number}"))).collect();
        let readers = files.iter().cloned().map(read).collect();
        let pending = Self { hold, readers, files };
        pending.all_wait(node)?;
        Ok(pending)
    }

    pub(crate) fn all_wait(&self, node: &Node) -> Result<()> {
        wait::until_true("all reads to wait", LIMIT, || {
            node.dir().fuse_waiting().is_ok_and(|waiting| waiting >= READS) && self.hold.waiting() > 0
        })
    }

    /// Lets the registry answer; every reader gets what is in its file, unless it may fail.
    pub(crate) fn finish(self, node: &Node, may_fail: bool) -> Result<u64> {
        self.hold.release();
        let ended = wait::until_true("all readers to end", LIMIT, || {
            self.readers.iter().all(|reader| reader.is_finished())
        });
        if ended.is_err() {
            node.dir().abort_fuse()?;
        }
        ended?;
        let mut failed = 0;
        for (number, reader) in self.readers.into_iter().enumerate() {
            let mut expected = Vec::new();
            content(number as u64).copy_to(&mut expected)?;
            match reader.join().map_err(|_| anyhow!("a reader panicked"))? {
                Ok(found) => ensure!(found == expected, "file {number} has wrong bytes"),
                Err(_) if may_fail => failed += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(failed)
    }
}

fn a_hundred_reads_wait(tree: &str) -> Result<()> {
    let images: Arc<Images> = Images::start()?;
    let mut node = node(&images, tree, Run::Supervised)?;
    let pending = Pending::start(&images, &node)?;
    for signum in [Signal::TERM, Signal::TERM, Signal::KILL, Signal::TERM] {
        signal(&mut node, signum)?;
        pending.all_wait(&node)?;
    }
    pending.finish(&node, false)?;
    let stats = stats(&mut node)?;
    ensure!(stats["failed_reads"] == 0 && stats["generation"] == 1, "{stats}");
    Ok(())
}

#[test]
fn with_the_kernels_tree() -> Result<()> {
    a_hundred_reads_wait("erofs")
}

#[test]
fn through_loop_devices() -> Result<()> {
    a_hundred_reads_wait("loop")
}

#[test]
fn with_the_fuse_tree() -> Result<()> {
    a_hundred_reads_wait("fuse")
}
