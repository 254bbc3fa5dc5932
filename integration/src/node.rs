//! A node: registry, proxy, Peel and containerd in one folder, and the order in which they come and go.
//!
//! ```text
//! /var/tmp/peel-it-XXXXXX/
//!   registry/     docker-registry: storage, log
//!   containerd/   root, state, socket, config.toml, log
//!   peel/         root, socket, config.toml, log
//!   logs/         of containers
//! ```
//!
//! Clients reach the registry through the proxy ([`Node::image`]); the sandbox image comes from the registry
//! directly, so that it is neither slowed down nor counted.

mod app;
mod container;
mod disk;
mod images;
mod power;
mod redial;
mod start;

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result};
use toml::Table;

pub use self::{app::App, container::Container, images::Images, start::Start};
use crate::{
    containerd::{Containerd, PeelPlugin, Settings, Version},
    cri::{Cri, Pod, PodSpec},
    guard::TestDir,
    peel::{self, Peel},
    process,
    proxy::{Proxy, Shape},
    wait,
};

/// CRI's services come up shortly after containerd's own; 1.6.20 takes a second.
const CRI_LIMIT: Duration = Duration::from_secs(90);

/// What CRI unpacks images with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshotter {
    /// Peel. `ctr` can still name overlayfs.
    Peel,
    /// containerd's own; no Peel is started.
    Overlayfs,
}

/// What a test chooses; see [`Node::builder`].
#[derive(Debug)]
pub struct Builder {
    version: Version,
    snapshotter: Snapshotter,
    pigz: bool,
    shape: Shape,
    peel: Table,
    launch: peel::Launch,
    registry: Option<Arc<Images>>,
    disk: Option<u64>,
}

impl Builder {
    /// How Peel is started; alone without a word.
    #[must_use]
    pub fn run_peel(mut self, launch: impl Into<peel::Launch>) -> Self {
        self.launch = launch.into();
        self
    }

    /// What CRI uses; Peel without a word.
    #[must_use]
    pub fn snapshotter(mut self, snapshotter: Snapshotter) -> Self {
        self.snapshotter = snapshotter;
        self
    }

    /// Whether containerd uses unpigz, if that is in the machine's `PATH`; it does without a word.
    #[must_use]
    pub fn pigz(mut self, pigz: bool) -> Self {
        self.pigz = pigz;
        self
    }

    /// The link to the registry; a loopback's without a word.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Peel's configuration, over the harness's own.
    #[must_use]
    pub fn peel_config(mut self, config: Table) -> Self {
        self.peel = config;
        self
    }

    /// Peel's root is an ext4 of so many MiB; without a word, a folder of this machine's disk.
    #[must_use]
    pub fn peel_disk(mut self, mebibytes: u64) -> Self {
        self.disk = Some(mebibytes);
        self
    }

    /// A registry that other nodes use too; an own one without a word.
    #[must_use]
    pub fn images(mut self, images: &Arc<Images>) -> Self {
        self.registry = Some(Arc::clone(images));
        self
    }

    /// Starts everything and waits until CRI answers and the sandbox image is there.
    ///
    /// # Errors
    /// When a part does not come up.
    pub fn start(self) -> Result<Node> {
        let images = match self.registry {
            Some(images) => images,
            None => Images::start()?,
        };
        let proxy = Proxy::start(images.address())?;
        let dir = TestDir::new()?;
        let (containerd_dir, peel_dir) = (dir.make("containerd")?, dir.make("peel")?);
        if let Some(mebibytes) = self.disk {
            disk::make_ext4(&disk::image(&peel_dir), &peel::root(&peel_dir), mebibytes)?;
        }
        let peel = match self.snapshotter {
            Snapshotter::Overlayfs => None,
            Snapshotter::Peel => Some(Peel::start(&peel_dir, &containerd_dir, &self.peel, self.launch)?),
        };
        let settings = Settings {
            version: self.version,
            peel: peel
                .as_ref()
                .map(|_| PeelPlugin { socket: peel::socket(&peel_dir), exports_root: peel::root(&peel_dir) }),
            snapshotter: if peel.is_some() { "peel" } else { "overlayfs" },
            sandbox_image: images.sandbox_reference(),
            pigz: self.pigz,
        };
        let containerd = Containerd::start(&containerd_dir, &settings)?;
        let cri = Cri::new(&containerd.socket())?;
        let node = Node { containerd, peel, proxy, images, cri, dir };
        node.wait_for_cri()?;
        node.cri.pull(&settings.sandbox_image).context("pulling the sandbox image")?;
        node.proxy.set_shape(self.shape);
        Ok(node)
    }
}

/// A running node. Dropping it ends everything that it started and leaves nothing behind.
#[derive(Debug)]
pub struct Node {
    // In the order of their end: who uses comes before who is used, the folder with all that hangs off it last.
    containerd: Containerd,
    peel: Option<Peel>,
    proxy: Proxy,
    images: Arc<Images>,
    cri: Cri,
    dir: TestDir,
}

impl Node {
    /// A node with this containerd.
    #[must_use]
    pub fn builder(version: Version) -> Builder {
        Builder {
            version,
            snapshotter: Snapshotter::Peel,
            pigz: true,
            shape: Shape::default(),
            peel: Table::new(),
            launch: peel::Launch::default(),
            registry: None,
            disk: None,
        }
    }

    /// CRI.
    #[must_use]
    pub fn cri(&self) -> &Cri {
        &self.cri
    }

    /// The proxy before the registry.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The registry, for pushes.
    #[must_use]
    pub fn images(&self) -> &Arc<Images> {
        &self.images
    }

    /// The daemon under test.
    ///
    /// # Errors
    /// On a node with overlayfs there is none.
    pub fn peel(&mut self) -> Result<&mut Peel> {
        self.peel.as_mut().context("this node was built without Peel")
    }

    /// containerd.
    pub fn containerd(&mut self) -> &mut Containerd {
        &mut self.containerd
    }

    /// The node's folder.
    #[must_use]
    pub fn dir(&self) -> &TestDir {
        &self.dir
    }

    /// The reference by which the node reaches an image of the registry, through the proxy.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.proxy.address())
    }

    /// Runs `ctr` in CRI's namespace.
    ///
    /// # Errors
    /// When it fails.
    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        self.containerd.ctr("k8s.io", arguments)
    }

    /// Runs `ctr` in another namespace.
    ///
    /// # Errors
    /// When it fails.
    pub fn ctr_in(&self, namespace: &str, arguments: &[&str]) -> Result<String> {
        self.containerd.ctr(namespace, arguments)
    }

    /// Restarts containerd; pods go on.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart_containerd(&mut self) -> Result<()> {
        self.containerd.restart()?;
        self.wait_for_cri()
    }

    /// Starts a sandbox.
    ///
    /// # Errors
    /// As containerd says.
    pub fn run_pod(&self) -> Result<Pod> {
        self.cri.run_pod(&PodSpec {
            name: crate::cri::unique("pod"),
            cgroup_parent: self.dir.cgroup(),
            log_directory: self.dir.make("logs")?,
            ..PodSpec::default()
        })
    }

    /// The log of a container that was given `log_path`, in CRI's format.
    #[must_use]
    pub fn container_log(&self, log_path: &str) -> PathBuf {
        self.dir.path().join("logs").join(log_path)
    }

    fn wait_for_cri(&self) -> Result<()> {
        wait::until("CRI to answer", CRI_LIMIT, || Ok(self.cri.version().ok())).map(drop)
    }

    #[expect(clippy::print_stderr, reason = "a failing test's own output is where its reader looks")]
    fn dump_logs(&self) {
        for log in ["containerd/containerd.log", "peel/peel.log"] {
            let path = self.dir.path().join(log);
            eprintln!("---- the end of {log}\n{}", process::tail(&path, 40));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if thread::panicking() {
            self.dump_logs();
        }
        // Everything is thrown away: containers need no goodbye, the folder's drop ends their processes. Peel goes
        // first and its FUSE connection with it, because whoever waits for a request cannot be ended.
        if let Some(peel) = &mut self.peel {
            let _ = peel.stop();
        }
        let _ = self.dir.abort_fuse();
        let _ = self.containerd.stop();
    }
}
