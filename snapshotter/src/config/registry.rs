//! How registries are asked.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::trust::TrustedRepositories;

/// How registries are asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// docker's `config.json`; by default `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
    pub docker_config: Option<PathBuf>,
    /// Hosts (`name[:port]`) that are spoken to without TLS, besides those on the loopback.
    pub plain_http: Vec<String>,
    /// CA certificates (PEM) besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// Repositories in which SOCI indexes that no image vouches for (version 1) are looked for and believed.
    pub trust_unbound_index: TrustedRepositories,
    /// Time to a connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Time to an answer's head, and longest silence within its body.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Requests to one host at once.
    pub connections: usize,
    /// Longest wait for one of those places.
    #[serde(with = "humantime_serde")]
    pub queue_timeout: Duration,
    /// Longest wait for a token.
    #[serde(with = "humantime_serde")]
    pub token_timeout: Duration,
    /// Requests at most for one call, the first included.
    pub attempts: u32,
    /// Pause before the second of them; doubles with each.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
    /// Longest own pause.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Longest pause that a registry may ask for.
    #[serde(with = "humantime_serde")]
    pub retry_after_max: Duration,
    /// Longest wait for a credential helper.
    #[serde(with = "humantime_serde")]
    pub helper_timeout: Duration,
    /// How long a credential helper's answer is used.
    #[serde(with = "humantime_serde")]
    pub helper_ttl: Duration,
}

impl Default for Registry {
    fn default() -> Self {
        let docker = peel_registry::DockerOptions::default();
        Self {
            docker_config: None,
            plain_http: Vec::new(),
            ca_files: Vec::new(),
            trust_unbound_index: TrustedRepositories::default(),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            connections: 16,
            queue_timeout: Duration::from_secs(60),
            token_timeout: Duration::from_secs(30),
            attempts: 5,
            backoff: Duration::from_millis(250),
            backoff_max: Duration::from_secs(10),
            retry_after_max: Duration::from_secs(30),
            helper_timeout: docker.helper_timeout,
            helper_ttl: docker.helper_ttl,
        }
    }
}

impl Registry {
    /// As the registry client takes it; proxies come from the environment. One call takes `call` at most.
    #[must_use]
    pub fn client(&self, call: Duration) -> peel_registry::Config {
        let defaults = peel_registry::Config::default();
        peel_registry::Config {
            plain_http: self.plain_http.clone(),
            extra_ca_files: self.ca_files.clone(),
            proxy: peel_registry::ProxyConfig::from_env(),
            timeouts: peel_registry::Timeouts {
                connect: self.connect_timeout,
                first_byte: self.stall_timeout,
                stall: self.stall_timeout,
                queue: self.queue_timeout,
                token: self.token_timeout,
                call,
            },
            retry: peel_registry::RetryPolicy {
                attempts: self.attempts,
                base: self.backoff,
                max: self.backoff_max,
                max_retry_after: self.retry_after_max,
                ..defaults.retry
            },
            concurrency_per_host: self.connections,
            ..defaults
        }
    }

    /// As docker's credentials take it.
    #[must_use]
    pub fn docker(&self) -> peel_registry::DockerOptions {
        let defaults = peel_registry::DockerOptions::default();
        peel_registry::DockerOptions {
            path: self.docker_config.clone().or(defaults.path),
            helper_search_path: defaults.helper_search_path,
            helper_timeout: self.helper_timeout,
            helper_ttl: self.helper_ttl,
        }
    }
}
