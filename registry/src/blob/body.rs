//! The bytes of one range in one answer.

use bytes::Bytes;

use crate::{
    error::{ErrorKind, RegistryError},
    transport::Response,
};

/// Gives exactly `remaining` bytes after throwing `skip` away, or an error; whatever the server sends beyond
/// them is not read.
#[derive(Debug)]
pub(super) struct Body {
    response: Response,
    skip: u64,
    remaining: u64,
}

impl Body {
    pub(super) fn new(response: Response, skip: u64, remaining: u64) -> Self {
        Self { response, skip, remaining }
    }

    /// The next bytes, never empty; only to be called while some remain.
    pub(super) async fn next(&mut self) -> Result<Bytes, RegistryError> {
        loop {
            let Some(mut chunk) = self.response.chunk().await? else {
                let missing = self.skip + self.remaining;
                return Err(self
                    .response
                    .error(ErrorKind::Unreachable, format!("the body ended {missing} bytes early")));
            };
            let skipped = chunk.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            let _ = chunk.split_to(skipped);
            self.skip -= skipped as u64;
            self.response.skipped(skipped as u64);
            chunk.truncate(usize::try_from(self.remaining).unwrap_or(usize::MAX));
            if !chunk.is_empty() {
                self.remaining -= chunk.len() as u64;
                return Ok(chunk);
            }
        }
    }
}
