//! A node, its layers' mounts and loop devices, and commands on the host that may get stuck.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    node::{App, Images, Node},
    process::run,
    wait,
};
use toml::Table;

/// What a command on the host may take. What waits for an answer that never comes takes for ever.
const LIMIT: &str = "60";

/// Shorter than `fetch.read_timeout`, after which a reader ends by itself.
const REPLY: Duration = Duration::from_secs(60);

/// A node on which unused layers go at once.
pub(crate) struct Ground {
    pub(crate) node: Node,
}

pub(crate) fn unused_go_at_once() -> Table {
    toml::toml! {
        [cache]
        unreferenced_ttl = "1s"
        interval = "200ms"
    }
}

/// The same, with EROFS over loop devices and nothing else.
pub(crate) fn loop_devices_only() -> Table {
    let mut config = unused_go_at_once();
    config.insert("tree".into(), "erofs".into());
    config.insert("erofs_backing".into(), "loop".into());
    config
}

impl Ground {
    pub(crate) fn start(version: Version, config: Table) -> Result<Self> {
        let images = Images::start()?;
        let node = Node::builder(version).images(&images).peel_config(config).start()?;
        Ok(Self { node })
    }

    /// Pushes an image of its own and pulls it; gives its reference too.
    pub(crate) fn pull(&self, name: &str) -> Result<(App, String)> {
        let app = App::push(self.node.images(), name)?;
        let image = app.image(&self.node);
        self.node.cri().pull(&image)?;
        Ok((app, image))
    }
}

/// Waits until Peel answers containerd.
pub(crate) fn answers(node: &Node) -> Result<()> {
    node.wait_for_peel()
}

/// Runs a program on the host; killed after [`LIMIT`].
pub(crate) fn bounded(program: &str, arguments: &[&str], path: &Path) -> Result<String> {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", LIMIT, program]).args(arguments).arg(path);
    run(&mut command)
}

/// A reader of a file, to be killed.
pub(crate) struct Reader(Child);

impl Reader {
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let mut command = Command::new("cat");
        command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().context("starting cat")?))
    }

    /// It waits.
    pub(crate) fn ensure_waits(&mut self) -> Result<()> {
        let ended = self.0.try_wait()?;
        ensure!(ended.is_none(), "the reader did not wait: {ended:?}");
        Ok(())
    }

    /// SIGKILL ends it, whatever it waits for.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.ensure_waits()?;
        self.0.kill()?;
        wait::until("a killed reader to end", REPLY, || Ok(self.0.try_wait()?)).map(drop)
    }

    /// It reads to the end.
    pub(crate) fn finish(mut self) -> Result<()> {
        let status = wait::until("a reader to end", REPLY, || Ok(self.0.try_wait()?))?;
        ensure!(status.success(), "the reader: {status}");
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Not waited for: it may be stuck, which then is the failure that is being reported.
        let _ = self.0.kill();
    }
}

/// Layers that are mounted.
pub(crate) fn layer_mounts(node: &mut Node) -> Result<Vec<PathBuf>> {
    let layers = node.peel()?.root().join("layers");
    Ok(node.dir().mounts()?.into_iter().filter(|mount| mount.starts_with(&layers)).collect())
}

/// Loop devices over files of this node.
pub(crate) fn loop_devices(node: &mut Node) -> Result<Vec<String>> {
    let root = node.peel()?.root();
    let mut devices = Vec::new();
    for device in fs::read_dir("/sys/block")? {
        let device = device?;
        let Ok(file) = fs::read_to_string(device.path().join("loop/backing_file")) else { continue };
        if Path::new(file.trim_end()).starts_with(&root) {
            devices.push(device.file_name().display().to_string());
        }
    }
    Ok(devices)
}
