//! A blob at a registry.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream::BoxStream};
use peel_layer::BlobOffset;
use peel_registry::{Blob, ErrorKind, RegistryError};
use tokio::time::Instant;

use crate::{BlobSource, Refusal, SourceError};

/// Just under the default of [`crate::Config::request_timeout`]: the registry client's error says which step
/// failed at which host, ours could only say that time is up.
const PATIENCE: Duration = Duration::from_secs(28);

/// Adapts the registry client. The client makes up for what is gone in a second (a cut connection, a 503) itself;
/// what it gives up on is for the next source, and the rounds over all of them.
#[derive(Debug)]
pub struct RegistrySource {
    blob: Blob,
    patience: Duration,
}

impl RegistrySource {
    /// The blob, in one repository of one registry.
    #[must_use]
    pub fn new(blob: Blob) -> Self {
        Self { blob, patience: PATIENCE }
    }

    /// One range takes this long at most, with the registry client's own retries. Set it below
    /// [`crate::Config::request_timeout`] if that is not the default.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

impl BlobSource for RegistrySource {
    fn read(&self, range: Range<BlobOffset>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        let deadline = Instant::now() + self.patience;
        async move { self.blob.read_by(range.start.0..range.end.0, deadline).await.map_err(source_error) }
            .boxed()
    }

    fn stream(&self, range: Range<BlobOffset>) -> BoxStream<'_, Result<Bytes, SourceError>> {
        self.blob.read_stream(range.start.0..range.end.0).map_err(source_error).boxed()
    }

    fn describe(&self) -> String {
        format!("{:?}", self.blob)
    }
}

/// The text has host and remedy, and no secrets: the registry client sees to it.
fn source_error(error: RegistryError) -> SourceError {
    let message = error.to_string();
    if error.retryable() {
        SourceError::Transient { message, after: error.retry_after() }
    } else {
        let refusal = match error.kind() {
            ErrorKind::Unauthorized => Refusal::Unauthenticated,
            ErrorKind::Forbidden => Refusal::Forbidden,
            ErrorKind::Tls => Refusal::Tls,
            ErrorKind::NotFound => Refusal::Missing,
            _ => Refusal::Other,
        };
        SourceError::Permanent { message, refusal }
    }
}
