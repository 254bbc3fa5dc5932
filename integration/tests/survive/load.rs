//! Containers and processes that read without end, and see whether anything was wrong.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    cri::ContainerSpec,
    node::{App, Images, Node},
    peel::{Launch, Run},
    wait,
};
use rustix::{
    fs::{Advice, fadvise},
    process::Signal,
};
use toml::Table;

/// Longest wait for what goes on by itself.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Of what they read. What is being decoded at three kills within a minute is taken for their cause, and tests evict what
/// was decoded, so that it is decoded again and again: the less each piece takes, the less likely it is hit three times.
const CHUNK: usize = 16 << 10;

/// Reads, lists and starts programs without end. A pass is a line; what failed is told.
const READER: &str = "while :; do for file in /data/*; do sha256sum $file >> /tmp/sums || echo $file >> /tmp/failed; \
                      done; ls -lR / > /dev/null 2>&1; /bin/busybox echo pass >> /tmp/passes; done";

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Reads a file whose pages the kernel was asked to forget.
pub(crate) fn read_anew(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content).with_context(|| format!("reading {}", path.display()))?;
    Ok(content)
}

/// Settings for that tree; "loop" is EROFS over loop devices.
pub(crate) fn settings(tree: &str) -> Table {
    let mut settings = Table::new();
    let kernels = if tree == "loop" { "erofs" } else { tree };
    settings.insert("tree".into(), kernels.into());
    if tree == "loop" {
        settings.insert("erofs_backing".into(), "loop".into());
    }
    settings
}

/// A node with that tree, whose Peel is started as `launch` says.
pub(crate) fn node(images: &std::sync::Arc<Images>, tree: &str, launch: impl Into<Launch>) -> Result<Node> {
    Node::builder(Version::Debian12).images(images).peel_config(settings(tree)).run_peel(launch).start()
}

/// Sends `signal` to the serving process, as soon as there is one.
pub(crate) fn signal(node: &mut Node, signal: Signal) -> Result<()> {
    wait::until_true("a serving process", LIMIT, || {
        node.peel().is_ok_and(|peel| peel.signal_server(signal).is_ok())
    })
}

/// Waits until Peel answers containerd.
pub(crate) fn answers(node: &Node) -> Result<()> {
    node.wait_for_peel()
}

/// What `peel stats` says, as soon as it answers.
pub(crate) fn stats(node: &mut Node) -> Result<serde_json::Value> {
    wait::until("an answer of peel stats", LIMIT, || Ok(node.peel()?.json("stats").ok()))
}

pub(crate) struct Load {
    pub(crate) node: Node,
    pub(crate) files: Vec<PathBuf>,
    rootfs: Vec<PathBuf>,
    /// What they read is in this image.
    pub(crate) image: String,
    /// An image whose data nobody has read, in a container.
    pub(crate) held: (App, PathBuf),
}

impl Load {
    /// Three containers of one image that read, and one of another whose data nobody has read yet.
    pub(crate) fn start(tree: &str) -> Result<Self> {
        Self::start_with(tree, Run::Supervised)
    }

    /// As [`Self::start`], with a Peel that is started as `launch` says.
    pub(crate) fn start_with(tree: &str, launch: impl Into<Launch>) -> Result<Self> {
        let images = Images::start()?;
        let read = App::push_in_chunks(&images, "read", CHUNK)?;
        let held = App::push(&images, "held")?;
        let node = node(&images, tree, launch)?;
        for app in [&read, &held] {
            node.cri().pull(&app.image(&node))?;
        }
        let mut rootfs = Vec::new();
        for _ in 0..3 {
            let spec = ContainerSpec::new(&read.image(&node), &["/bin/sh", "-c", READER]);
            rootfs.push(node.start(&spec)?.rootfs);
        }
        let unread = node.start_container(&held.image(&node), &[])?.rootfs.join("data/003");
        let data = rootfs[0].join("data");
        let mut files: Vec<PathBuf> =
            fs::read_dir(&data)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
        let image = read.image(&node);
        Ok(Self { node, files, rootfs, image, held: (held, unread) })
    }

    fn passes(&self) -> Vec<usize> {
        self.rootfs.iter().map(|rootfs| lines(&rootfs.join("tmp/passes")).len()).collect()
    }

    /// Runs `upset` while everybody reads, and sees that nobody noticed.
    pub(crate) fn survives(&mut self, upset: impl FnOnce(&mut Node) -> Result<()>) -> Result<()> {
        let expected: Vec<Vec<u8>> = self.files.iter().map(|path| read_anew(path)).collect::<Result<_>>()?;
        wait::until_true("all readers to have read", LIMIT, || {
            self.passes().iter().all(|passes| *passes > 0)
        })?;
        let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
        let (node, files) = (&mut self.node, &self.files);
        let outcome = thread::scope(|scope| -> Result<()> {
            let readers: Vec<_> = (0..2)
                .map(|reader| {
                    let (expected, stop, reads) = (&expected, &stop, &reads);
                    scope.spawn(move || -> Result<()> {
                        for number in (0..files.len()).cycle().skip(reader * 3) {
                            if stop.load(Relaxed) {
                                break;
                            }
                            let found = read_anew(&files[number])?;
                            ensure!(found == expected[number], "{} has wrong bytes", files[number].display());
                            reads.fetch_add(1, Relaxed);
                        }
                        Ok(())
                    })
                })
                .collect();
            let upset = upset(node);
            let before = reads.load(Relaxed);
            let goes_on = wait::until_true("reads to go on", LIMIT, || reads.load(Relaxed) > before + 4);
            stop.store(true, Relaxed);
            if upset.is_err() || goes_on.is_err() {
                // Nobody answers any more: who waits must be let go, or this test never ends.
                node.dir().abort_fuse()?;
            }
            upset.and(goes_on)?;
            readers
                .into_iter()
                .try_for_each(|reader| reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?)
        });
        outcome?;
        let before = self.passes();
        wait::until_true("all readers to go on", LIMIT, || {
            self.passes().iter().zip(&before).all(|(now, before)| now > before)
        })?;
        for rootfs in &self.rootfs {
            let failed = lines(&rootfs.join("tmp/failed"));
            ensure!(failed.is_empty(), "reads failed in a container: {failed:?}");
            // The last line may be half written.
            let mut sums = lines(&rootfs.join("tmp/sums"));
            sums.pop();
            let different: BTreeSet<_> = sums.into_iter().collect();
            ensure!(different.len() == self.files.len(), "wrong bytes in a container: {different:?}");
        }
        Ok(())
    }
}
