//! Whom to trust: the system's CA store plus the configured files, read when the client is made.

use std::path::PathBuf;

use reqwest::{Certificate, Client, ClientBuilder};

use super::classify::chain;
use crate::config::ConfigError;

/// Adds TLS to what `builder` makes, and builds the client.
pub(super) fn build(
    builder: impl Fn() -> ClientBuilder,
    ca_files: &[PathBuf],
) -> Result<Client, ConfigError> {
    // The HTTP stack takes its cryptography from the process. If somebody chose one before, it is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = read(ca_files)?;
    let none = authorities.is_empty();
    let failed = match builder().tls_certs_merge(authorities).build() {
        Ok(client) => return Ok(client),
        Err(error) => chain(&error.without_url()),
    };
    // A node without a CA store may still have registries that speak plain HTTP; HTTPS fails with its reason.
    if none && let Ok(client) = builder().tls_certs_only([]).build() {
        tracing::warn!(reason = failed, "no CA is trusted: HTTPS registries fail; install ca-certificates");
        return Ok(client);
    }
    Err(ConfigError::Stack(failed))
}

fn read(ca_files: &[PathBuf]) -> Result<Vec<Certificate>, ConfigError> {
    let mut authorities = Vec::new();
    for path in ca_files {
        let pem = std::fs::read(path).map_err(|source| ConfigError::ReadCa { path: path.clone(), source })?;
        match Certificate::from_pem_bundle(&pem) {
            Ok(certificates) if !certificates.is_empty() => authorities.extend(certificates),
            _ => return Err(ConfigError::ParseCa { path: path.clone() }),
        }
    }
    Ok(authorities)
}
