//! Tokens by what they are for, each asked once however many requests need it.
//!
//! An entry is a shared future: while it runs, it is the single flight that all who need the token wait for;
//! when it is done, it is the token. The work is a task of its own, so that a caller that gives up does not
//! take the others' token with it.

use std::{collections::HashMap, future::Future};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use reqwest::{Url, header::HeaderValue};
use tokio::time::Instant;

use super::{credentials::Credential, token::Token};
use crate::error::RegistryError;

/// Beyond so many, tokens that have run out are dropped. A node pulls from some hundred repositories.
const SWEEP_AT: usize = 1024;

/// What a token is valid for. The credential is part of it: two pods' accounts never share a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
    pub(crate) scope: String,
    pub(crate) credential: Option<Credential>,
}

type Flight = Shared<BoxFuture<'static, Result<Token, RegistryError>>>;

#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    flights: Mutex<HashMap<TokenKey, Flight>>,
}

impl TokenCache {
    /// The token for `key`, and whether it is new: asked for after this call began, or while it ran.
    ///
    /// `refused` is a token that the registry no longer takes. `request` makes the request, if one is needed;
    /// `lost` is the error for a request that panicked.
    pub(crate) async fn get<F>(
        &self,
        key: &TokenKey,
        refused: Option<&HeaderValue>,
        request: impl FnOnce() -> F,
        lost: impl FnOnce() -> RegistryError + Send + 'static,
    ) -> Result<(Token, bool), RegistryError>
    where
        F: Future<Output = Result<Token, RegistryError>> + Send + 'static,
    {
        let (flight, new) = {
            let mut flights = self.flights.lock();
            let known = flights.get(key).and_then(|flight| match flight.peek() {
                None => Some((flight.clone(), true)),
                Some(Ok(token)) if usable(token) && refused != Some(&token.header) => {
                    Some((flight.clone(), false))
                }
                Some(_) => None,
            });
            known.unwrap_or_else(|| {
                if flights.len() >= SWEEP_AT {
                    flights.retain(|_, flight| flight.peek().is_none_or(|r| r.as_ref().is_ok_and(usable)));
                }
                let task = tokio::spawn(request());
                let flight = async move { task.await.unwrap_or_else(|_| Err(lost())) }.boxed().shared();
                flights.insert(key.clone(), flight.clone());
                (flight, true)
            })
        };
        let token = flight.await?;
        Ok((token, new))
    }
}

fn usable(token: &Token) -> bool {
    token.renew > Instant::now()
}

#[cfg(test)]
mod tests;
