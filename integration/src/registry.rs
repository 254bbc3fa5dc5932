//! docker-registry on a free loopback port, with its storage in a folder of the test.
//!
//! Images are pushed to it directly; clients under test go through a [`Proxy`](crate::proxy::Proxy), which is also
//! what keeps the access log.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{process::Daemon, wait};

/// It listens after some 30 ms.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running registry. Dropping it ends it; the storage stays.
#[derive(Debug)]
pub struct Registry {
    daemon: Daemon,
    address: SocketAddr,
    storage: PathBuf,
}

impl Registry {
    /// Starts one in `dir`, with the images that an earlier one there kept.
    ///
    /// # Errors
    /// When docker-registry is not installed or does not come up.
    pub fn start(dir: &Path) -> Result<Self> {
        let storage = dir.join("storage");
        fs::create_dir_all(&storage)?;
        let config = dir.join("registry.yml");
        fs::write(&config, config_text(&storage))?;
        let log = dir.join("registry.log");
        // The port is read from the log, so it must be this run's.
        fs::write(&log, "")?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config);
        let mut daemon = Daemon::spawn("docker-registry", command, &log)?;
        let address = wait::until("docker-registry to listen", START_LIMIT, || {
            daemon.check_alive()?;
            Ok(listening(&daemon.log()))
        })
        .context("is Debian's package docker-registry installed?")?;
        Ok(Self { daemon, address, storage })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder of its filesystem driver, for tests that damage it.
    #[must_use]
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }
}

fn config_text(storage: &Path) -> String {
    // Relative URLs: an upload that goes through a proxy must come back through it.
    format!(
        "version: 0.1
log:
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:0
  relativeurls: true
",
        storage.display()
    )
}

/// The address in the log line `msg=\"listening on 127.0.0.1:43210\"`.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on ")?;
    rest.split(|c: char| c == '"' || c.is_whitespace()).next()?.parse().ok()
}
