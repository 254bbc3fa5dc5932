//! Where user names and passwords come from.
//!
//! Sources are asked for every request that must be authenticated, and must therefore be quick when nothing
//! changed; whatever they answer is used at once, so that rotated credentials work without a restart. Further
//! sources (the CRI client's, kubelet's credential providers) are further implementations of [`Credentials`].

use std::fmt;

use futures::future::BoxFuture;

use crate::secret::Secret;

mod docker;
mod helper;

pub use docker::{DockerConfig, DockerOptions};

/// What a registry is shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// User name and password (or an access token in place of one).
    Password {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// A refresh token for the registry's token endpoint (docker's `identitytoken`).
    IdentityToken(Secret),
}

/// A source of credentials.
pub trait Credentials: Send + Sync + fmt::Debug {
    /// What to show to `host` (as in references: `docker.io`, `registry.lan:5000`) for `repository`.
    /// `None`: this source knows nothing, and the host is asked anonymously.
    fn for_host<'a>(
        &'a self,
        host: &'a str,
        repository: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialsError>>;

    /// `host` refused what this source gave: whatever was remembered for it is stale.
    fn refused(&self, host: &str);
}

/// Why a source could not answer. The request goes on anonymously, and if it is refused, says this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialsError(String);

impl CredentialsError {
    /// `reason` must not contain a secret.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// No credentials at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn for_host<'a>(
        &'a self,
        _host: &'a str,
        _repository: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialsError>> {
        Box::pin(async { Ok(None) })
    }

    fn refused(&self, _host: &str) {}
}
