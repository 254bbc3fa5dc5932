//! Bearer tokens: one request to a token endpoint (distribution's "Token Authentication Specification" and
//! "OAuth2 Token Authentication").
//!
//! With a password or anonymously a token is asked with GET, with a refresh token with POST. The endpoint's
//! redirects are not followed: a credential went with the request.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Method, Request, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use tokio::time::Instant;

use super::{cache::TokenKey, credentials::Credential};
use crate::{
    error::{Context, ErrorKind, RegistryError},
    hosts::is_loopback,
    secret::Secret,
    transport::Transport,
};

/// Longest answer of a token endpoint. Tokens with many scopes reach some tens of KiB.
const MAX_ANSWER: usize = 256 << 10;
/// A token lives a minute if its endpoint does not say (distribution's specification), and at least that.
const MIN_LIFETIME: Duration = Duration::from_secs(60);
/// No token is believed for longer: the addition to a clock must not overflow.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A token as it is sent, and when to ask for the next.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) renew: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Whether a token endpoint may be asked at all. A registry that is spoken to over TLS must not send the
/// client, and with it a password or a token, over an open network.
pub(crate) fn endpoint_is_safe(registry: &Url, realm: &Url) -> bool {
    realm.scheme() == "https"
        || registry.scheme() == "http"
        || realm.host_str().is_some_and(is_loopback) && registry.host_str().is_some_and(is_loopback)
}

/// Asks once.
pub(crate) async fn request(
    transport: Arc<Transport>,
    key: TokenKey,
    context: Context,
) -> Result<Token, RegistryError> {
    let asked = Instant::now();
    transport.counters.token_requests.add(1);
    let response = transport.send(build(&key), &context).await?;
    if !response.status().is_success() {
        return Err(response.into_error().await);
    }
    let unusable = response.error(ErrorKind::Protocol, "the token endpoint's answer holds no token");
    let body = response.body(MAX_ANSWER).await?;
    // serde's message may quote the token.
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| unusable.clone())?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    let header = token.and_then(|token| secret_header(&format!("Bearer {token}"))).ok_or(unusable)?;
    let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(0)).clamp(MIN_LIFETIME, MAX_LIFETIME);
    // Renewed a tenth early: a token must not run out between here and the registry.
    Ok(Token { header, renew: asked + lifetime.mul_f64(0.9) })
}

fn build(key: &TokenKey) -> Request {
    let mut url = key.realm.clone();
    let service = key.service.as_deref().map(|service| ("service", service));
    let common = service.into_iter().chain([("scope", key.scope.as_str())]);
    if let Some(Credential::IdentityToken(token)) = &key.credential {
        let form = common.chain([
            ("grant_type", "refresh_token"),
            ("client_id", "peel"),
            ("refresh_token", token.expose()),
        ]);
        let mut request = Request::new(Method::POST, url);
        *request.body_mut() = Some(encode_form(form).into());
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form_type);
        return request;
    }
    url.query_pairs_mut().extend_pairs(common);
    let mut request = Request::new(Method::GET, url);
    if let Some(Credential::Password { username, password }) = &key.credential
        && let Some(header) = basic_header(username, password)
    {
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    request
}

fn encode_form<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    // A URL's query is encoded the same way.
    let mut url = Url::parse("http://form/").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url.and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// `Authorization` for Basic (RFC 7617).
pub(crate) fn basic_header(username: &str, password: &Secret) -> Option<HeaderValue> {
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
}

/// A header that is shown nowhere and not compressed into HTTP/2's tables. `None` if the text is no header.
fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests;
