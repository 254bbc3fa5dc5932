//! Clients and blobs for tests: all times short, all content the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use peel_registry::{
    Anonymous, Blob, Client, Config, Credential, Credentials, CredentialsError, Digest, RetryPolicy, Secret,
    Timeouts,
};

use super::server::{Answer, Server};

pub(crate) const REPOSITORY: &str = "library/app";

/// Content whose every part is different from every other.
pub(crate) fn content() -> Vec<u8> {
    (0..25_000_u32).flat_map(u32::to_be_bytes).collect()
}

pub(crate) fn digest() -> Digest {
    Digest::of(&content())
}

pub(crate) fn blob_path() -> String {
    format!("/v2/{REPOSITORY}/blobs/{}", digest())
}

/// Answers the n-th request with the n-th answer, and all further ones as a good server does.
pub(crate) async fn script(answers: Vec<Answer>) -> Server {
    let next = AtomicUsize::new(0);
    Server::start(move |request| {
        let number = next.fetch_add(1, SeqCst);
        answers.get(number).cloned().unwrap_or_else(|| Answer::range(request, &content()))
    })
    .await
}

/// Waits are short enough for tests that run into them, and long enough for a busy machine.
pub(crate) fn config() -> Config {
    Config {
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(5),
            stall: Duration::from_secs(5),
            queue: Duration::from_secs(10),
            call: Duration::from_secs(30),
            token: Duration::from_secs(10),
        },
        retry: RetryPolicy {
            attempts: 3,
            base: Duration::from_millis(2),
            max: Duration::from_millis(20),
            max_retry_after: Duration::from_millis(50),
            progress: 1 << 20,
        },
        ..Config::default()
    }
}

pub(crate) fn anonymous(config: Config) -> Client {
    Client::new(config, Arc::new(Anonymous)).expect("a client")
}

pub(crate) fn blob(client: &Client, host: &str) -> Blob {
    let reference = format!("{host}/{REPOSITORY}:1").parse().expect("a reference");
    client.blob(&reference, digest(), Some(content().len() as u64)).expect("a blob")
}

/// The same credential for every host, and who asked for it.
#[derive(Debug)]
pub(crate) struct Fixed(Credential);

impl Fixed {
    pub(crate) fn password() -> Arc<Self> {
        let (username, password) = ("user".to_owned(), Secret::new("hunter2"));
        Arc::new(Self(Credential::Password { username, password }))
    }

    pub(crate) fn identity_token() -> Arc<Self> {
        Arc::new(Self(Credential::IdentityToken(Secret::new("hunter2"))))
    }
}

impl Credentials for Fixed {
    fn for_host<'a>(
        &'a self,
        _host: &'a str,
        _repository: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialsError>> {
        Box::pin(async { Ok(Some(self.0.clone())) })
    }

    fn refused(&self, _host: &str) {}
}
