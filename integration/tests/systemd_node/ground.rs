//! A node with a registry beside it, and a pod that reads.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    cri::{ContainerSpec, Cri, Pod, PodSpec},
    guard::TestDir,
    node::{App, Images},
    proxy::Proxy,
    wait,
};

use crate::{machine::Machine, root};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Reads, lists and starts programs without end. A pass is a line; what failed is told.
const READER: &str = "while :; do for file in /data/*; do sha256sum $file >> /tmp/sums || echo $file >> /tmp/failed; \
                      done; ls -lR / > /dev/null 2>&1; /bin/busybox echo pass >> /tmp/passes; done";

/// Where Peel's root is on the node.
pub(crate) const PEEL_ROOT: &str = "/var/lib/peel";
/// The pod's cgroup, in the machine's.
const PODS: &str = "/pods";

pub(crate) struct Ground {
    // In the order of their end.
    machine: Option<Machine>,
    proxy: Option<Proxy>,
    _images: Arc<Images>,
    root: PathBuf,
    pub(crate) image: String,
    pub(crate) app: App,
    dir: TestDir,
}

/// A container that reads without end.
pub(crate) struct Reader {
    /// CRI's id.
    pub(crate) id: String,
    pod: Pod,
    rootfs: PathBuf,
}

impl Ground {
    /// A node that has booted, with an image in the registry that it has not pulled.
    pub(crate) fn new() -> Result<Self> {
        let images = Images::start()?;
        let app = App::push(&images, "node")?;
        let proxy = Proxy::start(images.address())?;
        let dir = TestDir::new()?;
        let root = dir.path().join("root");
        root::make(&root, &images.sandbox_reference())?;
        let image = format!("{}/node:1", proxy.address());
        let machine = Some(Machine::boot(&dir, &root)?);
        Ok(Self { machine, proxy: Some(proxy), _images: images, root, image, app, dir })
    }

    pub(crate) fn machine(&self) -> Result<&Machine> {
        self.machine.as_ref().context("the machine is off")
    }

    pub(crate) fn proxy(&self) -> Result<&Proxy> {
        self.proxy.as_ref().context("the registry was stopped")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends the registry, as far as the node can see.
    pub(crate) fn stop_registry(&mut self) {
        self.proxy = None;
    }

    /// An orderly end, and a new start.
    pub(crate) fn reboot(&mut self) -> Result<()> {
        self.machine.take().context("the machine is off")?.power_off()?;
        self.start()
    }

    /// An end without a word.
    pub(crate) fn cut_power(&mut self) {
        self.machine = None;
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        self.machine = Some(Machine::boot(&self.dir, &self.root)?);
        Ok(())
    }

    /// Starts a container of the image in a pod of its own.
    pub(crate) fn start_reader(&self, name: &str) -> Result<Reader> {
        let cri = self.machine()?.cri()?;
        let pod = cri.run_pod(&PodSpec {
            name: name.into(),
            cgroup_parent: PODS.into(),
            log_directory: "/var/log".into(),
            ..PodSpec::default()
        })?;
        let id = cri.create_container(&pod, &ContainerSpec::new(&self.image, &["/bin/sh", "-c", READER]))?;
        cri.start_container(&id)?;
        let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}");
        let rootfs = self.machine()?.path(&format!("{bundle}/rootfs"));
        Ok(Reader { id, pod, rootfs })
    }

    /// The FUSE mount as process 1 sees it: its line of mountinfo.
    pub(crate) fn fuse_mount(&self) -> Result<String> {
        let mounts = self.machine()?.mounts(&format!("{PEEL_ROOT}/fuse/"))?;
        let [mount] = &mounts[..] else { anyhow::bail!("not one FUSE mount: {mounts:?}") };
        Ok(mount.clone())
    }

    /// What the units said, where a failing test's reader looks.
    #[expect(clippy::print_stderr, reason = "a failing test's own output is where its reader looks")]
    fn dump(&self) {
        let Some(machine) = &self.machine else { return };
        for unit in ["peel", "peel-hold", "containerd"] {
            eprintln!("---- {unit}\n{}", machine.journal(unit));
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if thread::panicking() {
            self.dump();
        }
    }
}

/// Runs a test; when it fails, its node's logs are shown while there is one.
pub(crate) fn on(test: impl FnOnce(&mut Ground) -> Result<()>) -> Result<()> {
    let mut ground = Ground::new()?;
    test(&mut ground).inspect_err(|_| ground.dump())
}

impl Reader {
    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.rootfs.join("tmp").join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for one more whole pass, and sees that no read failed and none had wrong bytes.
    pub(crate) fn goes_on(&self) -> Result<()> {
        let before = self.lines("passes").len();
        // The one under way may have begun before what is tested.
        wait::until_true("the container to read on", LIMIT, || self.lines("passes").len() > before + 1)?;
        let failed = self.lines("failed");
        ensure!(failed.is_empty(), "reads failed: {failed:?}");
        let mut sums = self.lines("sums");
        // The last line may be half written.
        sums.pop();
        let different: std::collections::BTreeSet<_> = sums.into_iter().collect();
        let files = fs::read_dir(self.rootfs.join("data"))?.count();
        ensure!(different.len() == files, "wrong bytes: {different:?}");
        Ok(())
    }

    /// Reads a file whose pages the kernel was asked to forget.
    pub(crate) fn read_anew(&self, file: &str) -> Result<Vec<u8>> {
        let path = self.rootfs.join(file);
        let mut file = fs::File::open(&path)?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        let mut content = Vec::new();
        io::Read::read_to_end(&mut file, &mut content).with_context(|| format!("reading {path:?}"))?;
        Ok(content)
    }

    /// Stops and removes it.
    pub(crate) fn remove(&self, cri: &Cri) -> Result<()> {
        cri.stop_container(&self.id, Duration::ZERO)?;
        cri.remove_container(&self.id)?;
        cri.remove_pod(&self.pod.id)
    }
}

/// Names in a folder of the node's disk.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().display().to_string()).collect()
}
