//! A private containerd of a chosen version: own root, state, socket, runc root, configuration.
//!
//! Several run side by side. All use bookworm's runc 1.1, each uses its own `ctr` and shim. Sockets' paths are
//! short because a unix socket's has at most 107 bytes.

mod config;
pub(crate) mod idmapping;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

pub use self::config::{PeelPlugin, Settings};
use crate::{
    debian::{self, Suite},
    process::{Daemon, run},
    wait,
};

/// The slowest start seen is 1.6.20's under load: 2 s.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A containerd that the tests run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 1.6.20: Debian 12's own, as installed on the machine.
    Debian12,
    /// 1.7.24 at the time of writing: Debian 13's.
    Trixie,
    /// 2.x: whatever Debian sid has (2.1.9 at the time of writing).
    Sid,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Debian12, Self::Trixie, Self::Sid];

    /// Whether it is a 2.x: other configuration file, and the transfer service.
    #[must_use]
    pub const fn is_2(self) -> bool {
        matches!(self, Self::Sid)
    }

    fn binaries(self) -> Result<PathBuf> {
        let unpacked =
            |suite| debian::package(suite, "containerd").map(|package| package.root.join("usr/bin"));
        match self {
            Self::Debian12 => {
                let text = run(Command::new("/usr/bin/containerd").arg("--version"))
                    .context("install Debian 12's package containerd")?;
                ensure!(text.contains(" 1.6.20"), "/usr/bin/containerd is not Debian 12's: {text}");
                Ok("/usr/bin".into())
            }
            Self::Trixie => unpacked(Suite::Trixie),
            Self::Sid => unpacked(Suite::Sid),
        }
    }
}

/// A running containerd. Dropping it kills it; shims live on until the test's folder is dropped.
#[derive(Debug)]
pub struct Containerd {
    version: Version,
    binaries: PathBuf,
    dir: PathBuf,
    pigz: bool,
    daemon: Daemon,
}

impl Containerd {
    /// Writes the configuration into `dir` and starts it.
    ///
    /// # Errors
    /// When its package cannot be had or it does not come up.
    pub fn start(dir: &Path, settings: &Settings) -> Result<Self> {
        let version = settings.version;
        let binaries = version.binaries()?;
        fs::create_dir_all(dir.join("certs.d"))?;
        fs::write(dir.join("config.toml"), config::text(dir, settings))?;
        idmapping::write(dir)?;
        let daemon = spawn(dir, &binaries, settings.pigz)?;
        let mut started = Self { version, binaries, dir: dir.to_owned(), pigz: settings.pigz, daemon };
        started.wait_ready()?;
        Ok(started)
    }

    /// SIGTERM and a new start, as an upgrade of the package does it. Containers go on.
    ///
    /// # Errors
    /// When it does not end or does not come up again.
    pub fn restart(&mut self) -> Result<()> {
        self.daemon.terminate()?;
        self.daemon = spawn(&self.dir, &self.binaries, self.pigz)?;
        self.wait_ready()
    }

    /// What is left of it after a crash of the machine: its root. Call it when its processes and mounts are gone.
    ///
    /// # Errors
    /// When its state cannot be removed.
    pub fn crash(&mut self) -> Result<()> {
        self.daemon.kill()?;
        fs::remove_dir_all(config::state(&self.dir)).context("removing containerd's state")
    }

    /// SIGTERM, and SIGKILL when that does not help.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.terminate().map(drop)
    }

    fn wait_ready(&mut self) -> Result<()> {
        // `ctr version` is answered by the daemon; a socket alone may be there before its services.
        wait::until("containerd to answer", START_LIMIT, || {
            self.daemon.check_alive()?;
            Ok(self.socket().exists().then(|| self.ctr("default", &["version"]).ok()).flatten())
        })
        .map(drop)
    }

    /// Which one it is.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The exact version as the daemon says it, for reports.
    ///
    /// # Errors
    /// When the program does not run.
    pub fn exact_version(&self) -> Result<String> {
        let text = run(Command::new(self.binaries.join("containerd")).arg("--version"))?;
        Ok(text.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
    }

    /// Its gRPC socket, CRI included.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        config::socket(&self.dir)
    }

    /// Its root directory, the content store is in it.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        config::root(&self.dir)
    }

    /// The bundle of a container of CRI's: `rootfs` in it is mounted while the container runs.
    #[must_use]
    pub fn bundle(&self, container: &str) -> PathBuf {
        config::state(&self.dir).join("io.containerd.runtime.v2.task/k8s.io").join(container)
    }

    /// Writes a `hosts.toml` for a registry host (`127.0.0.1:5000`); read at the next pull.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_hosts(&self, host: &str, text: &str) -> Result<()> {
        let dir = config::certs_d(&self.dir).join(host);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("hosts.toml"), text).with_context(|| format!("writing hosts.toml of {host}"))
    }

    /// Runs this version's `ctr` in a namespace (`k8s.io` is CRI's).
    ///
    /// # Errors
    /// When it fails; the error holds what it printed.
    pub fn ctr(&self, namespace: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.binaries.join("ctr"));
        command.arg("--address").arg(self.socket()).args(["--namespace", namespace]).args(arguments);
        run(&mut command)
    }

    /// The daemon itself: its log, signals.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }
}

fn spawn(dir: &Path, binaries: &Path, pigz: bool) -> Result<Daemon> {
    let mut command = Command::new(binaries.join("containerd"));
    // The shim is looked up in PATH: this version's own comes first.
    let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", binaries.display());
    command.arg("--config").arg(dir.join("config.toml")).env("PATH", path);
    if !pigz {
        command.env("CONTAINERD_DISABLE_PIGZ", "1");
    }
    Daemon::spawn("containerd", command, &dir.join("containerd.log"))
}
