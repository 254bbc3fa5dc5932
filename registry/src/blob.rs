//! One blob: its size, ranges of its bytes, streams of them.
//!
//! Registries redirect blobs to a storage with a signed URL. Where a blob was found is kept with it and asked
//! directly, one hop instead of two or three, until it answers an error; then the registry is asked again, once.
//! Only single ranges are asked: several in one request are broken at large registries. An answer is taken only
//! if it is exactly the range that was asked, or the whole blob, from which the range is picked.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use parking_lot::Mutex;
use reqwest::{Method, Url};
use tokio::time::Instant;

use self::{body::Body, reader::Reader};
use crate::{
    Shared,
    digest::Digest,
    error::{ErrorKind, Operation, RegistryError},
    exchange::{Answer, Question},
    hosts::Target,
    retry::{self, Backoff},
};

mod body;
mod range;
mod reader;
mod size;

/// Memory set aside at once for a range. A range may be as large as an index claims; its bytes must come first.
const MAX_RESERVE: u64 = 8 << 20;

/// A blob in a repository of a registry. Cheap to clone; clones share what is known of the blob.
#[derive(Clone)]
pub struct Blob(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    target: Target,
    digest: Digest,
    size: OnceLock<u64>,
    /// Where redirects led last. A credential: never shown.
    storage: Mutex<Option<Url>>,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { target, digest, .. } = &*self.0;
        write!(f, "Blob({}/{}@{digest})", target.credentials_host, target.repository)
    }
}

impl Blob {
    pub(crate) fn new(shared: Arc<Shared>, target: Target, digest: Digest, size: Option<u64>) -> Self {
        let size = size.map_or_else(OnceLock::new, OnceLock::from);
        Self(Arc::new(Inner { shared, target, digest, size, storage: Mutex::default() }))
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The digest that names the blob.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// The bytes of `range`, within [`Timeouts::call`](crate::Timeouts). Nothing is checked against the
    /// digest, which is one of the whole blob.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, RegistryError> {
        let deadline = Instant::now() + self.shared().config.timeouts.call;
        self.read_by(range, deadline).await
    }

    /// The bytes of `range`, or an error at `deadline`.
    pub async fn read_by(&self, range: Range<u64>, deadline: Instant) -> Result<Bytes, RegistryError> {
        let context = self.0.target.context(Operation::BlobRead);
        let length = self.check(&range)?;
        let read = async {
            let mut reader = Reader::new(self.clone(), range, Some(deadline));
            let mut bytes =
                BytesMut::with_capacity(usize::try_from(length.min(MAX_RESERVE)).unwrap_or_default());
            while let Some(chunk) = reader.next().await? {
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes.freeze())
        };
        retry::within(Some(deadline), &context, read).await
    }

    /// The bytes of `range` as they come. There is no deadline for the whole, but for each wait on the way.
    /// The stream ends after its first error. A place in the host's queue is held until it ends or is dropped.
    pub fn read_stream(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin + 'static + use<> {
        let start = self.check(&range).map(|_| Reader::new(self.clone(), range, None));
        Box::pin(stream::unfold(Some(start), |state| async move {
            let mut reader = match state? {
                Ok(reader) => reader,
                Err(error) => return Some((Err(error), None)),
            };
            match reader.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(Ok(reader)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// The whole blob, checked against its digest. For small ones: `limit` bytes at most.
    pub async fn read_verified(&self, limit: usize) -> Result<Bytes, RegistryError> {
        let Inner { shared, target, digest, .. } = &*self.0;
        let question =
            Question { operation: Operation::BlobRead, method: Method::GET, range: None, accept: None };
        let (bytes, _) = shared.get_small(target, target.blob_url(digest), &question, limit).await?;
        if digest.matches(&bytes) {
            Ok(bytes)
        } else {
            let context = target.context(Operation::BlobRead);
            Err(RegistryError::new(&context, ErrorKind::WrongDigest, format!("they are not {digest}")))
        }
    }

    /// The range's length, if it can be asked.
    fn check(&self, range: &Range<u64>) -> Result<u64, RegistryError> {
        let inverted = range.end < range.start;
        if inverted || self.0.size.get().is_some_and(|size| range.end > *size) {
            let context = self.0.target.context(Operation::BlobRead);
            let detail = format!("bytes {}..{} are not in the blob", range.start, range.end);
            return Err(RegistryError::new(&context, ErrorKind::Invalid, detail));
        }
        Ok(range.end - range.start)
    }

    /// Asks for a range, where the blob was found last or else at the registry.
    async fn open(&self, range: Range<u64>) -> Result<Body, RegistryError> {
        let known = self.0.storage.lock().clone();
        if let Some(url) = known {
            match self.open_at(url.clone(), &range).await {
                Ok(body) => return Ok(body),
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::TooManyRequests { .. }) {
                        self.forget(&url);
                    }
                    if !is_expiry(&error) {
                        return Err(error);
                    }
                    tracing::debug!(%error, "the storage's URL has run out, asking the registry again");
                }
            }
        }
        self.open_at(self.0.target.blob_url(&self.0.digest), &range).await
    }

    async fn open_at(&self, url: Url, range: &Range<u64>) -> Result<Body, RegistryError> {
        let question = Question {
            operation: Operation::BlobRead,
            method: Method::GET,
            range: Some(range.clone()),
            accept: None,
        };
        let Answer { response, redirected_to } =
            self.shared().exchange.ask(&self.0.target, url, &question).await?;
        let known = self.0.size.get().copied();
        let (body, size) = range::accept(response, range, known, self.shared().config.max_skip).await?;
        if let Some(size) = size {
            let _ = self.0.size.set(size);
        }
        if redirected_to.is_some() {
            *self.0.storage.lock() = redirected_to;
        }
        Ok(body)
    }

    /// Unless somebody found a better place meanwhile.
    fn forget(&self, url: &Url) {
        let mut storage = self.0.storage.lock();
        if storage.as_ref() == Some(url) {
            *storage = None;
        }
    }

    fn backoff(&self) -> Backoff {
        let config = &self.shared().config;
        Backoff::new(&config.retry, Some(Instant::now() + config.timeouts.call))
    }
}

/// Whether an error of a known storage URL can be cured by asking the registry for a new one. Storages say
/// 403 (S3, Azure), 400 (GCS), 401 or 404 for a signature that has run out.
fn is_expiry(error: &RegistryError) -> bool {
    match error.kind() {
        ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::NotFound => true,
        ErrorKind::Refused { status } => !matches!(status, 408 | 416 | 425),
        _ => false,
    }
}
