//! Which host serves a reference, and where its API begins.
//!
//! Today there is exactly one: the host that the reference names. The rules are containerd's for a host
//! without a `hosts.toml`. Mirrors, their CAs and headers will make this a list, in the order in which the
//! hosts are asked.

use std::net::{Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use crate::{
    config::Config,
    digest::Digest,
    error::{Context, ErrorKind, Operation, RegistryError},
    reference::ImageReference,
};

/// The host that serves the API of Docker Hub (as in containerd's `DefaultHost`).
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// One repository on one host.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Host of the reference: what credentials are kept under (`docker.io`).
    pub(crate) credentials_host: String,
    pub(crate) repository: String,
    /// `scheme://host[:port]/v2/`.
    base: Url,
}

impl Target {
    /// The host to ask for `reference`.
    pub(crate) fn of(reference: &ImageReference, config: &Config) -> Result<Self, RegistryError> {
        let host = reference.host();
        let scheme = if is_plain_http(host, config) { "http" } else { "https" };
        let api_host = if host == "docker.io" { DOCKER_HUB_API } else { host };
        let base = Url::parse(&format!("{scheme}://{api_host}/v2/")).map_err(|error| {
            let context = Context {
                operation: Operation::BlobRead,
                repository: reference.repository().to_owned(),
                host: host.to_owned(),
            };
            RegistryError::new(&context, ErrorKind::Invalid, error.to_string())
        })?;
        Ok(Self { credentials_host: host.to_owned(), repository: reference.repository().to_owned(), base })
    }

    pub(crate) fn blob_url(&self, digest: &Digest) -> Url {
        self.url(&format!("blobs/{digest}"))
    }

    /// `name` is a tag or a digest.
    pub(crate) fn manifest_url(&self, name: &str) -> Url {
        self.url(&format!("manifests/{name}"))
    }

    /// What refers to the manifest with this digest.
    pub(crate) fn referrers_url(&self, subject: &Digest) -> Url {
        self.url(&format!("referrers/{subject}"))
    }

    // The grammar of references allows nothing in a repository, tag or digest that means something in a URL.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{path}", self.repository));
        url
    }

    /// Whether a URL is this host's own, so that its credentials may be sent there: same scheme, host and port.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn context(&self, operation: Operation) -> Context {
        self.context_at(operation, &self.base)
    }

    /// The context of a request to `url`, which may be a storage host's.
    pub(crate) fn context_at(&self, operation: Operation, url: &Url) -> Context {
        Context { operation, repository: self.repository.clone(), host: authority(url) }
    }
}

/// `host[:port]` of a URL; nothing else of it is ever shown.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// containerd: loopback with a port other than 443 is plain HTTP. Others only if configured.
fn is_plain_http(host: &str, config: &Config) -> bool {
    if config.plain_http.iter().any(|plain| plain == host) {
        return true;
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    is_loopback(name) && port.is_some_and(|port| port != "443")
}

/// `localhost` or an address of the loopback networks; IPv6 with or without brackets.
pub(crate) fn is_loopback(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
