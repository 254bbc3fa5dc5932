//! Configuration: one TOML file in which every key has a default.
//!
//! `docs/configuration.md` lists the keys. Every time-out and interval of the daemon is here, with its reason,
//! so that a test can shorten it. Unknown keys are an error: a misspelt key that is silently ignored is a
//! setting that the operator believes in and does not have.

mod cache;
mod fetch;
mod live;
mod registry;
mod trust;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde::Deserialize;

pub use cache::{Cache, KUBELET_LOW_PERCENT};
pub use fetch::Fetch;
pub use live::Live;
pub use registry::Registry;
pub use trust::TrustedRepositories;

use crate::mounts::Backing;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is logged: a level, or levels by module (`info,peel_fetch=debug`). `$PEEL_LOG` goes before it.
    pub log: String,
    /// How layers become lowerdirs.
    pub tree: Tree,
    /// What EROFS is mounted over; by default what works, files first.
    pub erofs_backing: Option<Backing>,
    /// Where metrics are served over HTTP, as in "127.0.0.1:9645"; not at all by default.
    pub metrics_address: Option<SocketAddr>,
    /// Where containerd is.
    pub containerd: Containerd,
    /// When a pull waits, fails, and becomes ordinary.
    pub pull: Pull,
    /// How registries are asked.
    pub registry: Registry,
    /// How bytes are fetched for readers.
    pub fetch: Fetch,
    /// What is kept on disk.
    pub cache: Cache,
    /// The FUSE mount.
    pub fuse: Fuse,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            metrics_address: None,
            log: "info".into(),
            tree: Tree::default(),
            erofs_backing: None,
            containerd: Containerd::default(),
            pull: Pull::default(),
            registry: Registry::default(),
            fetch: Fetch::default(),
            cache: Cache::default(),
            fuse: Fuse::default(),
        }
    }
}

/// How layers become lowerdirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tree {
    /// EROFS where the kernel can, also layer by layer; else the FUSE tree.
    #[default]
    Auto,
    /// EROFS or not at all.
    Erofs,
    /// The FUSE tree.
    Fuse,
}

/// Where containerd is. k3s, RKE2 and others put it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Containerd {
    /// Its gRPC socket, for the content and leases APIs.
    pub address: PathBuf,
    /// Its root directory; the content store is read below it when it can be.
    pub root: PathBuf,
    /// Longest wait for one of its answers. Prepare waits for the content API, so it is short: a slow Prepare
    /// holds up the node's other snapshots once a GC is queued (contract §5.3).
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Containerd {
    fn default() -> Self {
        Self {
            address: "/run/containerd/containerd.sock".into(),
            root: "/var/lib/containerd".into(),
            timeout: Duration::from_secs(2),
        }
    }
}

/// What happens to the retry of a pull that failed for a reason that containerd may not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// The next attempt is an ordinary pull: containerd downloads and unpacks.
    Retry,
    /// The next attempt is lazy again.
    Never,
}

/// When a pull waits, fails, and becomes ordinary.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pull {
    /// See [`Fallback`].
    pub fallback: Fallback,
    /// How long a failed manifest stays ordinary.
    #[serde(with = "humantime_serde")]
    pub fallback_ttl: Duration,
    /// Longest wait in the gate in which nothing moves.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Longest wait in all when the wait does not belong to a recent pull: from containerd 2.2 on the unpacker
    /// also runs inside CreateContainer, which the kubelet gives two minutes.
    #[serde(with = "humantime_serde")]
    pub total_timeout: Duration,
    /// A Prepare of the chain within this time makes the wait part of a pull.
    #[serde(with = "humantime_serde")]
    pub recent: Duration,
}

impl Pull {
    /// How long failures are remembered.
    #[must_use]
    pub fn remember(&self) -> Duration {
        match self.fallback {
            Fallback::Retry => self.fallback_ttl,
            Fallback::Never => Duration::ZERO,
        }
    }
}

impl Default for Pull {
    fn default() -> Self {
        Self {
            fallback: Fallback::Retry,
            fallback_ttl: Duration::from_secs(600),
            timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(90),
            recent: Duration::from_secs(600),
        }
    }
}

/// The FUSE mount.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fuse {
    /// Session threads. They never wait for the network, but for the local disk, and as many reads of it are under way
    /// as there are threads.
    pub threads: usize,
}

impl Default for Fuse {
    fn default() -> Self {
        Self { threads: 4 }
    }
}

impl Config {
    /// Reads the file; without one all defaults hold.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has a key or value that does not exist; the text names the
    /// file and the line.
    pub fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in the configuration file {}", path.display()))
    }

    /// Parses and checks the text of a file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        for (name, value) in [
            ("registry.connections", config.registry.connections),
            ("registry.attempts", usize::try_from(config.registry.attempts)?),
            ("fetch.concurrency", config.fetch.concurrency),
            ("fuse.threads", config.fuse.threads),
        ] {
            anyhow::ensure!(value > 0, "{name} must be at least 1");
        }
        config.cache.check()?;
        crate::logging::parse(&config.log)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
