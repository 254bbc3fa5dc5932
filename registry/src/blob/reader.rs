//! A range from its first byte to its last, over as many requests as it takes.
//!
//! A body that breaks off is continued from the byte it reached. Every break counts as an attempt, but an
//! answer that brought a good piece (see [`RetryPolicy::progress`](crate::RetryPolicy)) makes a new beginning.

use std::ops::Range;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Blob, body::Body};
use crate::{error::RegistryError, retry::Backoff};

#[derive(Debug)]
pub(super) struct Reader {
    blob: Blob,
    /// What is still to be given.
    left: Range<u64>,
    body: Option<Body>,
    /// Bytes given since the last break.
    run: u64,
    backoff: Backoff,
}

impl Reader {
    pub(super) fn new(blob: Blob, range: Range<u64>, deadline: Option<Instant>) -> Self {
        let backoff = Backoff::new(&blob.shared().config.retry, deadline);
        Self { blob, left: range, body: None, run: 0, backoff }
    }

    /// The next bytes; `None` at the end of the range. After an error the reader is of no more use.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if self.left.is_empty() {
                return Ok(None);
            }
            match self.step().await {
                Ok(bytes) => {
                    self.left.start += bytes.len() as u64;
                    self.run = self.run.saturating_add(bytes.len() as u64);
                    return Ok(Some(bytes));
                }
                Err(error) => {
                    self.body = None;
                    if self.run >= self.blob.shared().config.retry.progress {
                        self.backoff.reset();
                    }
                    self.run = 0;
                    self.backoff.wait(error).await?;
                    self.blob.shared().counters().retries.add(1);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Bytes, RegistryError> {
        let body = match &mut self.body {
            Some(body) => body,
            none => none.insert(self.blob.open(self.left.clone()).await?),
        };
        body.next().await
    }
}
