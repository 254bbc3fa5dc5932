//! Where a layer's blob can be read.

use std::{ops::Range, path::Path, time::Duration};

use bytes::Bytes;
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use peel_layer::BlobOffset;

/// One place that has the blob. Retries over a long time, time-outs and the choice between places are
/// made above.
pub trait BlobSource: Send + Sync + 'static {
    /// Exactly this range of the blob.
    fn read(&self, range: Range<BlobOffset>) -> BoxFuture<'_, Result<Bytes, SourceError>>;

    /// This range of the blob as it comes, in pieces of any size. Every wait for a piece is bounded; the stream ends
    /// after its first error.
    fn stream(&self, range: Range<BlobOffset>) -> BoxStream<'_, Result<Bytes, SourceError>> {
        stream::unfold(Some(range), move |left| async move {
            let left = left.filter(|left| !left.is_empty())?;
            let end = BlobOffset(left.start.0.saturating_add(PIECE)).min(left.end);
            match self.read(left.start..end).await {
                Ok(bytes) => Some((Ok(bytes), Some(end..left.end))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// The file on this node that has the blob's bytes, if that is where they are.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// For error texts: host and repository, or a path. No secrets.
    fn describe(&self) -> String;

    /// The bytes come from this node, not over the network.
    fn is_local(&self) -> bool {
        self.file().is_some()
    }
}

/// Bytes of one request where a source cannot stream.
const PIECE: u64 = 4 << 20;

/// What kind of no it was, as far as it matters to whoever waits for an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refusal {
    /// Credentials are missing or wrong.
    Unauthenticated,
    /// The credentials do not suffice.
    Forbidden,
    /// The host is not who it says it is.
    Tls,
    /// It does not have the blob.
    Missing,
    /// Any other.
    #[default]
    Other,
}

/// Why a source did not give the bytes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// It may work later: no connection, 5xx, 429.
    #[error("{message}")]
    Transient {
        /// What happened, with host and remedy.
        message: String,
        /// How long the source wants to be left alone.
        after: Option<Duration>,
    },
    /// Asking again is of little use: 401, 403, 404.
    #[error("{message}")]
    Permanent {
        /// What happened, with host and remedy.
        message: String,
        /// What kind of no.
        refusal: Refusal,
    },
}

impl SourceError {
    /// A failure that may go away.
    #[must_use]
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Transient { message: message.into(), after: None }
    }

    /// A failure that will stay.
    #[must_use]
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent { message: message.into(), refusal: Refusal::default() }
    }
}
