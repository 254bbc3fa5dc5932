//! One HTTP request and its answer: connections, TLS, places per host, timeouts, counters.
//!
//! Nothing here knows registries. Redirects are not followed: who may see which credential is decided one
//! level up, in `exchange`. A place in the host's queue is held until the body has been read or dropped,
//! because that is how long the connection is in use.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::{
    Request, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    config::{Config, ConfigError, Timeouts},
    error::{Context, ErrorKind, RegistryError},
    hosts::authority,
    retry::parse_retry_after,
    stats::Counters,
};

mod classify;
mod tls;

/// Bodies of errors and redirects are read up to here, so that the connection can be used again.
const MAX_ASIDE: usize = 64 << 10;
/// And for so long: a new connection costs less than that.
const ASIDE_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Transport {
    client: reqwest::Client,
    timeouts: Timeouts,
    places_per_host: usize,
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
    pub(crate) counters: Arc<Counters>,
}

impl Transport {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.concurrency_per_host == 0 {
            return Err(ConfigError::Zero("concurrency_per_host"));
        }
        let proxy = config.proxy.build()?;
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("peel/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
                .referer(false)
                .connect_timeout(config.timeouts.connect)
                .pool_max_idle_per_host(config.concurrency_per_host)
                // Only the configured rules: the stack reads the environment otherwise than containerd does.
                .no_proxy()
                .proxy(proxy.clone())
        };
        Ok(Self {
            client: tls::build(builder, &config.extra_ca_files)?,
            timeouts: config.timeouts.clone(),
            places_per_host: config.concurrency_per_host,
            places: Mutex::default(),
            counters: Arc::default(),
        })
    }

    /// Sends a request and waits for the head of the answer, whatever its status.
    pub(crate) async fn send(&self, request: Request, context: &Context) -> Result<Response, RegistryError> {
        let result = self.try_send(request, context).await;
        if !result.as_ref().is_ok_and(|response| response.status().as_u16() < 400) {
            self.counters.errors.add(1);
        }
        result
    }

    async fn try_send(&self, request: Request, context: &Context) -> Result<Response, RegistryError> {
        let timed_out = |what: &str| RegistryError::new(context, ErrorKind::TimedOut, what);
        let places = self.places_of(&authority(request.url()));
        let place = match timeout(self.timeouts.queue, places.acquire_owned()).await {
            Ok(Ok(place)) => place,
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => {
                return Err(timed_out("too many requests to this host are in flight"));
            }
        };
        self.counters.requests.add(1);
        // `execute` connects too, within its own timeout.
        let limit = self.timeouts.connect + self.timeouts.first_byte;
        let inner = match timeout(limit, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(classify::error(context, error)),
            Err(_) => return Err(timed_out("no answer")),
        };
        Ok(Response {
            inner,
            context: context.clone(),
            stall: self.timeouts.stall,
            counters: self.counters.clone(),
            _place: place,
        })
    }

    fn places_of(&self, host: &str) -> Arc<Semaphore> {
        let mut places = self.places.lock();
        match places.get(host) {
            Some(places) => places.clone(),
            None => {
                // Storage hosts come and go with redirects; those without a request in flight are forgotten.
                places.retain(|_, places| Arc::strong_count(places) > 1);
                let new = Arc::new(Semaphore::new(self.places_per_host));
                places.insert(host.to_owned(), new.clone());
                new
            }
        }
    }
}

/// The head of an answer, and its body to be read.
pub(crate) struct Response {
    inner: reqwest::Response,
    context: Context,
    stall: Duration,
    counters: Arc<Counters>,
    _place: OwnedSemaphorePermit,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not its URL and headers: they may hold what a signed URL is made of.
        f.debug_struct("Response").field("status", &self.status()).field("context", &self.context).finish()
    }
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header's text; `None` if it is missing or not ASCII.
    pub(crate) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.inner.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// `Content-Length` as sent: unlike a body's size it is there for HEAD too.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(reqwest::header::CONTENT_LENGTH).and_then(|text| text.trim().parse().ok())
    }

    /// An error about this answer.
    pub(crate) fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> RegistryError {
        RegistryError::new(&self.context, kind, detail)
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        match timeout(self.stall, self.inner.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                self.counters.bytes.add(chunk.len() as u64);
                Ok(Some(chunk))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(self.failed(classify::error(&self.context, error))),
            Err(_) => Err(self.failed(self.error(ErrorKind::TimedOut, "the body stopped coming"))),
        }
    }

    fn failed(&self, error: RegistryError) -> RegistryError {
        self.counters.errors.add(1);
        error
    }

    /// The whole body, which must not be larger than `limit` bytes.
    pub(crate) async fn body(mut self, limit: usize) -> Result<Bytes, RegistryError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(self.error(ErrorKind::Protocol, format!("a body of more than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Counts bytes of the body that were of no use.
    pub(crate) fn skipped(&self, count: u64) {
        self.counters.skipped_bytes.add(count);
    }

    /// Reads a small body to its end, so that the connection stays usable. Whether that works does not matter.
    pub(crate) async fn drain(self) {
        let _ = self.aside().await;
    }

    /// A body that is of little interest: not waited for, and empty if it is large or breaks off.
    async fn aside(self) -> Bytes {
        if self.content_length().is_some_and(|length| length > MAX_ASIDE as u64) {
            return Bytes::new();
        }
        timeout(ASIDE_TIME, self.body(MAX_ASIDE)).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// This answer as the error that its status means. OCI error codes in the body (`DENIED`,
    /// `TOOMANYREQUESTS`) are shown; messages are not, they may quote what was sent.
    pub(crate) async fn into_error(self) -> RegistryError {
        let status = self.status().as_u16();
        let retry_after =
            self.header(RETRY_AFTER).and_then(|text| parse_retry_after(text, SystemTime::now()));
        let context = self.context.clone();
        let kind = match status {
            401 => ErrorKind::Unauthorized,
            403 => ErrorKind::Forbidden,
            404 | 410 => ErrorKind::NotFound,
            429 => ErrorKind::TooManyRequests { retry_after },
            500.. => ErrorKind::Unavailable { status, retry_after },
            _ => ErrorKind::Refused { status },
        };
        RegistryError::new(&context, kind, classify::error_codes(&self.aside().await))
    }
}
