//! What the proxy saw, and how a test names a part of it.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{HeaderMap, Method, header};
use parking_lot::Mutex;

/// The parts of a request that tests ask about.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query as sent, `/v2/app/blobs/sha256:…`.
    pub path: String,
    /// The bytes asked for, end excluded, when there is a `Range: bytes=a-b` header.
    pub range: Option<Range<u64>>,
    /// Who asks: `containerd/…` or `peel/…`.
    pub user_agent: String,
    /// Whether credentials of any kind were sent.
    pub authorized: bool,
}

impl Request {
    pub(super) fn new(method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            method: method.clone(),
            path: path.to_owned(),
            range: parse_range(text(header::RANGE)),
            user_agent: text(header::USER_AGENT).to_owned(),
            authorized: headers.contains_key(header::AUTHORIZATION),
        }
    }

    /// Whether it reads a blob's bytes: of a layer or of an image's config.
    #[must_use]
    pub fn reads_blob(&self) -> bool {
        self.method == Method::GET && self.path.contains("/blobs/sha256:")
    }
}

/// `bytes=a-b` with both ends; other forms are not sent by the clients here.
fn parse_range(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}

/// One request with its answer so far.
#[derive(Debug, Clone)]
pub struct Record {
    /// The request.
    pub request: Request,
    /// When it came, since the proxy's start.
    pub at: Duration,
    /// The status sent; 0 while there is none.
    pub status: u16,
    /// Bytes of the body sent.
    pub bytes: u64,
}

/// A set of requests.
#[derive(Clone)]
pub struct Match(Arc<dyn Fn(&Request) -> bool + Send + Sync>);

impl Match {
    /// The requests for which `predicate` is true.
    pub fn when(predicate: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(predicate))
    }

    /// All requests.
    #[must_use]
    pub fn all() -> Self {
        Self::when(|_| true)
    }

    /// Reads of any blob.
    #[must_use]
    pub fn blobs() -> Self {
        Self::when(Request::reads_blob)
    }

    /// Reads of the blob with this digest (`sha256:…`).
    #[must_use]
    pub fn blob(digest: &str) -> Self {
        let end = format!("/blobs/{digest}");
        Self::when(move |request| {
            request.reads_blob() && request.path.split('?').next().is_some_and(|path| path.ends_with(&end))
        })
    }

    /// Manifests of any kind, by tag or by digest, HEAD and GET.
    #[must_use]
    pub fn manifests() -> Self {
        Self::when(|request| request.path.contains("/manifests/"))
    }

    /// The requests of this set for which `predicate` is true.
    #[must_use]
    pub fn and(self, predicate: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        Self::when(move |request| self.holds(request) && predicate(request))
    }

    /// The requests of this set whose user agent starts with `agent`.
    #[must_use]
    pub fn from_agent(self, agent: &'static str) -> Self {
        self.and(move |request| request.user_agent.starts_with(agent))
    }

    pub(super) fn holds(&self, request: &Request) -> bool {
        (self.0)(request)
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Match")
    }
}

/// A record that its connection still writes to.
#[derive(Debug)]
pub(super) struct Entry {
    request: Request,
    at: Duration,
    status: AtomicU16,
    bytes: AtomicU64,
}

impl Entry {
    pub(super) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// All records.
#[derive(Debug)]
pub(super) struct Log {
    started: Instant,
    entries: Mutex<Vec<Arc<Entry>>>,
}

impl Default for Log {
    fn default() -> Self {
        Self { started: Instant::now(), entries: Mutex::default() }
    }
}

impl Log {
    pub(super) fn add(&self, request: Request) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            request,
            at: self.started.elapsed(),
            status: AtomicU16::new(0),
            bytes: AtomicU64::new(0),
        });
        self.entries.lock().push(Arc::clone(&entry));
        entry
    }

    pub(super) fn records(&self) -> Vec<Record> {
        let record = |entry: &Arc<Entry>| Record {
            request: entry.request.clone(),
            at: entry.at,
            status: entry.status.load(Ordering::Relaxed),
            bytes: entry.bytes.load(Ordering::Relaxed),
        };
        self.entries.lock().iter().map(record).collect()
    }

    pub(super) fn clear(&self) {
        self.entries.lock().clear();
    }
}
