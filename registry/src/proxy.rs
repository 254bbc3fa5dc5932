//! Which proxy, if any, a request goes through.
//!
//! The rules are those of Go's `net/http`, because containerd on the same node reads the same variables:
//! upper-case names win over lower-case ones, loopback never goes through a proxy, and an entry of `NO_PROXY`
//! is `*`, an address, a network, or a domain (`example.com`: it and all below; `.example.com` and
//! `*.example.com`: only those below), each but the first and third with an optional port.

use std::net::IpAddr;

use reqwest::{Proxy, Url};

use crate::{config::ConfigError, hosts::is_loopback, secret::Secret};

/// Proxies by the scheme of the request. The URLs are secrets: they may contain a password.
#[derive(Debug, Clone, Default)]
pub struct ProxyConfig {
    /// For `http` requests.
    pub http: Option<Secret>,
    /// For `https` requests.
    pub https: Option<Secret>,
    /// Comma-separated hosts that are asked directly.
    pub no_proxy: String,
}

impl ProxyConfig {
    /// From `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or their lower-case forms.
    #[must_use]
    pub fn from_env() -> Self {
        let read = |names: [&str; 2]| {
            names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.trim().is_empty())
        };
        Self {
            http: read(["HTTP_PROXY", "http_proxy"]).map(Secret::new),
            https: read(["HTTPS_PROXY", "https_proxy"]).map(Secret::new),
            no_proxy: read(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
        }
    }

    /// The rules as the HTTP stack wants them.
    pub(crate) fn build(&self) -> Result<Proxy, ConfigError> {
        let http = self.http.as_ref().map(|url| parse(url, "http")).transpose()?;
        let https = self.https.as_ref().map(|url| parse(url, "https")).transpose()?;
        let direct = NoProxy::parse(&self.no_proxy);
        Ok(Proxy::custom(move |url| {
            let proxy = match url.scheme() {
                "http" => http.as_ref(),
                "https" => https.as_ref(),
                _ => None,
            }?;
            (!direct.matches(url)).then(|| proxy.clone())
        }))
    }
}

/// A proxy without a scheme is an HTTP proxy.
fn parse(text: &Secret, scheme: &'static str) -> Result<Url, ConfigError> {
    let text = text.expose().trim();
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    match url {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(ConfigError::Proxy { scheme }),
    }
}

#[derive(Debug)]
struct NoProxy(Vec<Rule>);

#[derive(Debug)]
enum Rule {
    All,
    Network {
        address: IpAddr,
        prefix: u8,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    /// `suffix` begins with a dot.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl NoProxy {
    /// Entries that mean nothing are ignored, as in Go.
    fn parse(list: &str) -> Self {
        Self(list.split(',').filter_map(|entry| Rule::parse(&entry.trim().to_ascii_lowercase())).collect())
    }

    fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        is_loopback(&host) || {
            let (address, port) = (host.parse().ok(), url.port_or_known_default());
            self.0.iter().any(|rule| rule.matches(&host, address, port))
        }
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((address, prefix)) = entry.split_once('/') {
            let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return (prefix <= bits).then_some(Self::Network { address, prefix });
        }
        if let Ok(address) = entry.parse() {
            return Some(Self::Address { address, port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return Some(Self::Address { address, port });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host.strip_prefix('.') {
            Some("") => None,
            Some(_) => Some(Self::Domain { suffix: host.to_owned(), itself: false, port }),
            None if host.is_empty() => None,
            None => Some(Self::Domain { suffix: format!(".{host}"), itself: true, port }),
        }
    }

    fn matches(&self, host: &str, host_address: Option<IpAddr>, host_port: Option<u16>) -> bool {
        let port_matches = |port: &Option<u16>| port.is_none() || *port == host_port;
        match self {
            Self::All => true,
            Self::Network { address, prefix } => {
                host_address.is_some_and(|host| same_network(host, *address, *prefix))
            }
            Self::Address { address, port } => host_address == Some(*address) && port_matches(port),
            Self::Domain { suffix, itself, port } => {
                (host.ends_with(suffix) || (*itself && suffix.strip_prefix('.') == Some(host)))
                    && port_matches(port)
            }
        }
    }
}

fn same_network(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let left_aligned = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    let differ = left_aligned(a) ^ left_aligned(b);
    // A shift by all 128 bits is the empty prefix: everything of the family.
    a.is_ipv4() == b.is_ipv4() && differ.checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests;
