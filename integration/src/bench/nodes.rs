//! The nodes that take turns: one per filesystem, each with a running container of the benchmark's image.

use std::{
    env,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use toml::Table;

use super::{machine, work::Done, workload::Workload};
use crate::{
    containerd::Version,
    node::{Container, Images, Node, Snapshotter},
    proxy::Match,
    wait,
};

/// The image as overlayfs gets it.
pub(super) const PLAIN: &str = "bench/tree:plain";
/// The image as Peel gets it.
pub(super) const LAZY: &str = "bench/tree:estargz";

/// No workload takes a minute on a machine of this decade, unless its filesystem hangs.
const WORK_LIMIT: Duration = Duration::from_secs(300);

/// How Peel shows a layer: the setting `tree`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// The kernel's EROFS, bytes through FUSE.
    Erofs,
    /// All through FUSE.
    Fuse,
}

impl Front {
    pub(super) const ALL: [Self; 2] = [Self::Erofs, Self::Fuse];

    /// What the names of its rows begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Erofs => "tree",
            Self::Fuse => "fusetree",
        }
    }

    /// The setting.
    pub(super) fn settings(self) -> Table {
        let value = match self {
            Self::Erofs => "erofs",
            Self::Fuse => "fuse",
        };
        Table::from_iter([("tree".to_owned(), value.into())])
    }
}

/// A node and its container.
#[derive(Debug)]
pub(super) struct Subject {
    container: Container,
    node: Node,
}

impl Subject {
    /// overlayfs over ext4, as containerd unpacks.
    pub(super) fn overlayfs(images: &Arc<Images>) -> Result<Self> {
        let node =
            Node::builder(Version::Debian12).snapshotter(Snapshotter::Overlayfs).images(images).start()?;
        Self::with_container(node, PLAIN)
    }

    /// Peel, with every byte of the image in its cache.
    pub(super) fn peel(images: &Arc<Images>, front: Front) -> Result<Self> {
        let node = Node::builder(Version::Debian12).peel_config(front.settings()).images(images).start()?;
        let subject = Self::with_container(node, LAZY)?;
        subject.perform(Workload::Readall).context("filling the cache")?;
        machine::drop_caches()?;
        subject.node.proxy().clear();
        subject.perform(Workload::Readall)?;
        let fetched = subject.node.proxy().bytes_of(&Match::all());
        ensure!(fetched == 0, "{fetched} bytes were fetched a second time: the cache is not full");
        Ok(subject)
    }

    fn with_container(node: Node, name: &str) -> Result<Self> {
        let image = node.image(name);
        node.cri().pull(&image)?;
        let container = node.start_container(&image, &["/usr/bin/sleep", "infinity"])?;
        Ok(Self { container, node })
    }

    /// Runs a workload over the container's root as the host sees it, which is the very mount that the container
    /// has.
    pub(super) fn perform(&self, workload: Workload) -> Result<Done> {
        perform(workload, &self.container.rootfs)
            .with_context(|| format!("{} in {}", workload.name(), self.container.rootfs.display()))
    }
}

/// Starts this executable as `work WORKLOAD ROOT`; it prints a [`Done`].
pub(super) fn perform(workload: Workload, root: &Path) -> Result<Done> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["work", workload.name()]).arg(root);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let ended = wait::until(workload.name(), WORK_LIMIT, || Ok(child.try_wait()?));
    if ended.is_err() {
        // Not waited for: who hangs in a filesystem may not end before that does.
        let _ = child.kill();
    }
    let status = ended?;
    let (mut answer, mut complaint) = (String::new(), String::new());
    child.stdout.take().context("no output")?.read_to_string(&mut answer)?;
    child.stderr.take().context("no output")?.read_to_string(&mut complaint)?;
    if !status.success() {
        bail!("{status}: {}", complaint.trim());
    }
    Ok(serde_json::from_str(&answer)?)
}
