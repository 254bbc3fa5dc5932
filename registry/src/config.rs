//! Settings of the client. All have defaults; tests shorten the times.

use std::{path::PathBuf, time::Duration};

use crate::{proxy::ProxyConfig, retry::RetryPolicy};

/// How registries are reached. [`Default`] reads no environment; see [`ProxyConfig::from_env`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Hosts, as written in references (`registry.lan:5000`), that speak plain HTTP. Loopback is known.
    pub plain_http: Vec<String>,
    /// PEM files of CAs that are trusted beside the system's.
    pub extra_ca_files: Vec<PathBuf>,
    /// Which proxy for which request.
    pub proxy: ProxyConfig,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How often a failed request is made again, and when.
    pub retry: RetryPolicy,
    /// Requests in flight per host (registry, token endpoint and storage each count for themselves).
    /// 16 one-MiB ranges fill 1 Gbit/s at 130 ms; registries begin to refuse at some tens per client.
    pub concurrency_per_host: usize,
    /// Bytes read and thrown away to get to a range when a server answers 200 with the whole blob.
    /// Beyond that the call fails: a reader of the last KiB must not cost a blob of gigabytes.
    pub max_skip: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            plain_http: Vec::new(),
            extra_ca_files: Vec::new(),
            proxy: ProxyConfig::default(),
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            concurrency_per_host: 16,
            max_skip: 64 << 20,
        }
    }
}

/// Every wait of the client is one of these.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// TCP and TLS (and the proxy's CONNECT). A SYN is sent again after 1, 3 and 7 s; four get through.
    pub connect: Duration,
    /// From a request sent to the head of its answer. Registries that check blobs in remote storage take
    /// seconds here.
    pub first_byte: Duration,
    /// Without a single byte of a body. There is no limit for a whole body that keeps coming.
    pub stall: Duration,
    /// Waiting for one of [`Config::concurrency_per_host`] places.
    pub queue: Duration,
    /// A whole [`read`](crate::Blob::read), [`size`](crate::Blob::size) or manifest, with all its retries:
    /// what a reader in FUSE waits at most.
    pub call: Duration,
    /// A token, with all its retries.
    pub token: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(20),
            stall: Duration::from_secs(20),
            queue: Duration::from_secs(60),
            call: Duration::from_secs(100),
            token: Duration::from_secs(30),
        }
    }
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A CA file cannot be read.
    #[error("cannot read the CA file {path}: {source}")]
    ReadCa {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A CA file has no certificate, or a broken one.
    #[error("{path} has no usable certificates; expected PEM with BEGIN CERTIFICATE lines")]
    ParseCa {
        /// The file.
        path: PathBuf,
    },
    /// A proxy's URL cannot be used. The URL is not shown, it may contain a password.
    #[error("the proxy for {scheme} is not a URL like http://proxy.example:3128")]
    Proxy {
        /// `http` or `https`.
        scheme: &'static str,
    },
    /// A setting that would stop everything.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// The TLS or HTTP stack refused to start.
    #[error("the HTTP client cannot be set up: {0}")]
    Stack(String),
}
