//! Who we are to a registry: challenges, credentials, tokens.
//!
//! A host is first asked anonymously. What it answers with 401 is remembered per repository, and from then on
//! every request carries its authorization from the start. The rules that keep credentials where they belong:
//!
//!  - only the host that the reference names, by scheme, name and port, is sent an authorization; whoever
//!    follows redirects must ask [`Target::owns`] first;
//!  - a token endpoint gets a password only over TLS, unless the registry itself is spoken to in the clear;
//!  - secrets are of a type that does not show them, headers are marked sensitive, errors hold neither.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use tokio::time::Instant;

use self::{
    cache::{TokenCache, TokenKey},
    challenge::Challenge,
    credentials::{Credential, Credentials},
    token::Token,
};
use crate::{
    config::Config,
    error::{Context, ErrorKind, Operation, RegistryError},
    hosts::{Target, authority},
    retry::{self, Backoff},
    transport::{Response, Transport},
};

mod cache;
mod challenge;
pub(crate) mod credentials;
mod token;

/// Challenges kept; beyond that all are forgotten, which costs one 401 per repository.
const MAX_CHALLENGES: usize = 4096;

/// What a request carries.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// Made for this request; if it is refused, another one will be too.
    new: bool,
    /// Why there were no credentials to make it with, if a source failed.
    problem: Option<String>,
}

impl Authorization {
    /// The 401 that this authorization got, with what may have led to it.
    async fn refused(&self, response: Response, why: &str) -> RegistryError {
        let error = response.into_error().await.with_note(why);
        self.problem.iter().fold(error, |error, problem| error.with_note(problem))
    }
}

#[derive(Debug)]
pub(crate) struct Authenticator {
    transport: Arc<Transport>,
    source: Arc<dyn Credentials>,
    config: Config,
    challenges: Mutex<HashMap<(String, String), Challenge>>,
    tokens: TokenCache,
}

impl Authenticator {
    pub(crate) fn new(transport: Arc<Transport>, source: Arc<dyn Credentials>, config: Config) -> Self {
        Self { transport, source, config, challenges: Mutex::default(), tokens: TokenCache::default() }
    }

    /// What to send with a request, as far as this host's demands are known.
    pub(crate) async fn authorization(
        &self,
        target: &Target,
    ) -> Result<Option<Authorization>, RegistryError> {
        let challenge = self.challenges.lock().get(&place(target)).cloned();
        match challenge {
            None => Ok(None),
            Some(challenge) => self.answer(target, &challenge, None).await.map(Some),
        }
    }

    /// What to send after a 401 to a request that carried `used`.
    pub(crate) async fn challenged(
        &self,
        target: &Target,
        response: Response,
        used: Option<&Authorization>,
    ) -> Result<Authorization, RegistryError> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = Challenge::choose(headers.iter().filter_map(|value| value.to_str().ok()));
        if used.is_some() {
            self.source.refused(&target.credentials_host);
        }
        let Some(challenge) = challenge else {
            return Err(response
                .into_error()
                .await
                .with_note("it offers neither Basic nor Bearer authentication"));
        };
        if let Some(used) = used
            && used.new
            && matches!(challenge, Challenge::Bearer { .. })
        {
            return Err(used.refused(response, "a new token was refused").await);
        }
        {
            let mut challenges = self.challenges.lock();
            if challenges.len() >= MAX_CHALLENGES {
                challenges.clear();
            }
            challenges.insert(place(target), challenge.clone());
        }
        let answer = self.answer(target, &challenge, used).await?;
        if let Some(used) = used
            && used.header == answer.header
        {
            return Err(used.refused(response, "the credentials were refused").await);
        }
        response.drain().await;
        Ok(answer)
    }

    async fn answer(
        &self,
        target: &Target,
        challenge: &Challenge,
        refused: Option<&Authorization>,
    ) -> Result<Authorization, RegistryError> {
        let found = self.source.for_host(&target.credentials_host, &target.repository).await;
        let (credential, problem) = match found {
            Ok(credential) => (credential, None),
            Err(problem) => (None, Some(problem.to_string())),
        };
        let noted = |error: RegistryError| match &problem {
            Some(problem) if *error.kind() == ErrorKind::Unauthorized => error.with_note(problem),
            _ => error,
        };
        match challenge {
            Challenge::Basic => basic(target, credential.as_ref()).map_err(noted),
            Challenge::Bearer { realm, service, scope } => {
                if !token::endpoint_is_safe(target.base(), realm) {
                    let error = "it names a token endpoint without TLS, which gets no credentials";
                    return Err(RegistryError::new(
                        &target.context(Operation::Token),
                        ErrorKind::Protocol,
                        error,
                    ));
                }
                let key = TokenKey {
                    realm: realm.clone(),
                    service: service.clone(),
                    // The registry knows best what it will check: its name for the repository may differ.
                    scope: scope.clone().unwrap_or_else(|| format!("repository:{}:pull", target.repository)),
                    credential,
                };
                let context = Context { host: authority(realm), ..target.context(Operation::Token) };
                let (token, new) = self.token(key, context, refused).await.map_err(noted)?;
                Ok(Authorization { header: token.header, new, problem })
            }
        }
    }

    async fn token(
        &self,
        key: TokenKey,
        context: Context,
        refused: Option<&Authorization>,
    ) -> Result<(Token, bool), RegistryError> {
        let lost = RegistryError::new(&context, ErrorKind::Unreachable, "the request for a token was lost");
        let request = || {
            let (transport, key) = (self.transport.clone(), key.clone());
            let backoff = Backoff::new(&self.config.retry, Some(Instant::now() + self.config.timeouts.token));
            let counters = transport.counters.clone();
            async move {
                let attempt = || token::request(transport.clone(), key.clone(), context.clone());
                retry::run(backoff, &context, || counters.retries.add(1), attempt).await
            }
        };
        self.tokens.get(&key, refused.map(|used| &used.header), request, move || lost).await
    }
}

fn place(target: &Target) -> (String, String) {
    (target.base().origin().ascii_serialization(), target.repository.clone())
}

fn basic(target: &Target, credential: Option<&Credential>) -> Result<Authorization, RegistryError> {
    let context = target.context(Operation::Token);
    let unauthorized = |why: &str| RegistryError::new(&context, ErrorKind::Unauthorized, why);
    match credential {
        Some(Credential::Password { username, password }) => token::basic_header(username, password)
            .map(|header| Authorization { header, new: true, problem: None })
            .ok_or_else(|| unauthorized("the password cannot be sent")),
        Some(Credential::IdentityToken(_)) => {
            Err(unauthorized("it wants a password, and there is only an identity token"))
        }
        None => Err(unauthorized("it wants a password, and there are no credentials for it")),
    }
}
