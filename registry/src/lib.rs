//! OCI distribution client: ranged reads of blobs, manifests, authentication, retries.
//!
//! It knows nothing of layers: blobs are named by digest and read by range, and what comes back is checked only
//! for being the range that was asked. Whoever reads chunks out of it verifies them.
//!
//! ```text
//! Client ─ Blob ─ reader   a range over several answers: retry, continue, deadline
//!            │      └ range, body   is this answer the range that was asked?
//!            └ exchange   one question through 401s and redirects; who gets which credential
//!                 ├ auth        challenges, credentials, tokens (each asked once)
//!                 └ transport   one request: TLS, proxy, places per host, timeouts, counters
//! hosts: which host serves a reference. Exactly one today; mirrors of hosts.toml will come here.
//! ```
//!
//! Every wait is bounded, by a timeout of [`Timeouts`] and for a whole call by a deadline. Errors never hold a
//! secret; see [`RegistryError`].

use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Url, header::HeaderMap};
use tokio::time::Instant;

mod auth;
mod blob;
mod config;
mod digest;
mod error;
mod exchange;
mod hosts;
mod manifest;
mod proxy;
mod reference;
mod referrers;
mod retry;
mod secret;
mod stats;
mod transport;

pub use auth::credentials::{
    Anonymous, Credential, Credentials, CredentialsError, DockerConfig, DockerOptions,
};
pub use blob::Blob;
pub use config::{Config, ConfigError, Timeouts};
pub use digest::{Digest, DigestError};
pub use error::{ErrorKind, Operation, RegistryError};
pub use manifest::Manifest;
pub use proxy::ProxyConfig;
pub use reference::{ImageReference, ReferenceError};
pub use referrers::Referrer;
pub use retry::RetryPolicy;
pub use secret::Secret;
pub use stats::Stats;

use auth::Authenticator;
use exchange::{Exchange, Question};
use hosts::Target;
use retry::Backoff;
use transport::Transport;

/// A client of registries: connections, tokens and counters, shared by all its clones.
#[derive(Debug, Clone)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    config: Config,
    exchange: Exchange,
}

impl Client {
    /// Reads CA files and the system's CA store; makes no connection.
    pub fn new(config: Config, credentials: Arc<dyn Credentials>) -> Result<Self, ConfigError> {
        if config.retry.attempts == 0 {
            return Err(ConfigError::Zero("retry.attempts"));
        }
        let transport = Arc::new(Transport::new(&config)?);
        let auth = Authenticator::new(transport.clone(), credentials, config.clone());
        Ok(Self(Arc::new(Shared { config, exchange: Exchange { transport, auth } })))
    }

    /// A blob in the repository of `reference`. `size` is what its descriptor says, if it is known: answers
    /// that contradict it are refused. Asks nothing; fails only for a host that no URL can name.
    pub fn blob(
        &self,
        reference: &ImageReference,
        digest: Digest,
        size: Option<u64>,
    ) -> Result<Blob, RegistryError> {
        let target = Target::of(reference, &self.0.config)?;
        Ok(Blob::new(self.0.clone(), target, digest, size))
    }

    /// The manifest that `reference` names: by its digest, if it has one, and then checked against it.
    pub async fn manifest(&self, reference: &ImageReference) -> Result<Manifest, RegistryError> {
        let target = Target::of(reference, &self.0.config)?;
        manifest::get(&self.0, &target, reference).await
    }

    /// Manifests of this artifact type that name `subject`, a manifest in the repository of `reference`, as their
    /// subject: from the referrers API or, where the registry has none, from its fallback tag. A bounded number, in
    /// the registry's order. Anybody who may push there can add to them.
    pub async fn referrers(
        &self,
        reference: &ImageReference,
        subject: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let target = Target::of(reference, &self.0.config)?;
        referrers::list(&self.0, &target, subject, artifact_type).await
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.counters().snapshot()
    }
}

impl Shared {
    fn counters(&self) -> &stats::Counters {
        &self.exchange.transport.counters
    }

    /// A whole document of at most `limit` bytes, within [`Timeouts::call`].
    async fn get_small(
        &self,
        target: &Target,
        url: Url,
        question: &Question,
        limit: usize,
    ) -> Result<(Bytes, HeaderMap), RegistryError> {
        let deadline = Instant::now() + self.config.timeouts.call;
        let backoff = Backoff::new(&self.config.retry, Some(deadline));
        let context = target.context(question.operation);
        let attempt = || async {
            let response = self.exchange.ask(target, url.clone(), question).await?.response;
            if response.status().as_u16() != 200 {
                return Err(response.into_error().await);
            }
            let headers = response.headers().clone();
            Ok((response.body(limit).await?, headers))
        };
        retry::run(backoff, &context, || self.counters().retries.add(1), attempt).await
    }
}
