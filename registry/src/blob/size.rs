//! How large a blob is.

use reqwest::{Method, Url};

use super::{Blob, range::ContentRange};
use crate::{
    error::{ErrorKind, Operation, RegistryError},
    exchange::{Answer, Question},
    retry,
};

impl Blob {
    /// The blob's size in bytes: known from the start or from an earlier answer, else asked with HEAD.
    ///
    /// Some registries redirect a HEAD without saying where, and storages refuse a HEAD with a URL that was
    /// signed for GET. Then the first byte is asked: its `Content-Range` has the size.
    pub async fn size(&self) -> Result<u64, RegistryError> {
        if let Some(size) = self.0.size.get() {
            return Ok(*size);
        }
        let context = self.0.target.context(Operation::BlobSize);
        let on_retry = || self.shared().counters().retries.add(1);
        let size = retry::run(self.backoff(), &context, on_retry, || self.ask_size()).await?;
        Ok(*self.0.size.get_or_init(|| size))
    }

    async fn ask_size(&self) -> Result<u64, RegistryError> {
        match self.head().await {
            Ok(size) => Ok(size),
            Err(error) if self.get_may_help(&error) => self.first_byte().await,
            Err(error) => Err(error),
        }
    }

    async fn head(&self) -> Result<u64, RegistryError> {
        let Answer { response, .. } = self.ask(Method::HEAD, None).await?;
        match response.status().as_u16() {
            200 => response
                .content_length()
                .ok_or_else(|| response.error(ErrorKind::Protocol, "an answer without a length")),
            _ => Err(response.into_error().await),
        }
    }

    async fn first_byte(&self) -> Result<u64, RegistryError> {
        let Answer { response, redirected_to } = self.ask(Method::GET, Some(0..1)).await?;
        let size = match response.status().as_u16() {
            // 416: nothing is where the first byte of an empty blob would be.
            206 | 416 => ContentRange::of(&response).and_then(|content| content.total),
            200 => response.content_length(),
            _ => return Err(response.into_error().await),
        };
        if redirected_to.is_some() {
            *self.0.storage.lock() = redirected_to;
        }
        size.ok_or_else(|| {
            response.error(ErrorKind::Protocol, "the answer does not say how large the blob is")
        })
    }

    async fn ask(
        &self,
        method: Method,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Answer, RegistryError> {
        let url: Url = self.0.target.blob_url(&self.0.digest);
        let question = Question { operation: Operation::BlobSize, method, range, accept: None };
        self.shared().exchange.ask(&self.0.target, url, &question).await
    }

    /// Whether a failed HEAD says nothing about a GET.
    fn get_may_help(&self, error: &RegistryError) -> bool {
        let by_storage = error.host() != self.0.target.context(Operation::BlobSize).host;
        match error.kind() {
            ErrorKind::Protocol | ErrorKind::Refused { .. } => !error.retryable(),
            ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::NotFound => by_storage,
            ErrorKind::Unavailable { status, .. } => *status == 501,
            _ => false,
        }
    }
}
