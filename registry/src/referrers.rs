//! Referrers: manifests that name another manifest as their subject (OCI distribution spec, "Listing Referrers").
//!
//! Registries with the API answer with an image index, maybe in pages. Those without say 404, and then clients keep the
//! same list under a tag, `sha256-<hex>`. Who may push to a repository may add to either list, so a referrer says
//! nothing that the image vouches for.

use bytes::Bytes;
use reqwest::{Method, Url, header::LINK};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    Shared,
    digest::Digest,
    error::{ErrorKind, Operation, RegistryError},
    exchange::Question,
    hosts::Target,
    retry,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// As manifests: the specification asks registries to take those of 4 MiB.
const MAX_PAGE: usize = 4 << 20;
/// Registries make pages of a hundred and more; nobody reads on for ever.
const MAX_PAGES: u32 = 8;
/// Referrers of the wanted type: whoever asks will try one after the other.
const MAX_FOUND: usize = 32;

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// Of the referring manifest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

#[derive(Deserialize)]
struct Page {
    /// Go writes an empty list as null.
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    size: u64,
    artifact_type: Option<String>,
}

/// The referrers of `subject` that have this artifact type, in the registry's order.
pub(crate) async fn list(
    shared: &Shared,
    target: &Target,
    subject: &Digest,
    artifact_type: &str,
) -> Result<Vec<Referrer>, RegistryError> {
    let deadline = Instant::now() + shared.config.timeouts.call;
    let context = target.context(Operation::Referrers);
    retry::within(Some(deadline), &context, async {
        match by_api(shared, target, subject, artifact_type).await {
            Err(error) if has_no_api(&error) => by_tag(shared, target, subject, artifact_type).await,
            found => found,
        }
    })
    .await
}

/// The specification says 404; some gateways know no such path or method.
fn has_no_api(error: &RegistryError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Refused { status: 400 | 405 })
}

async fn by_api(
    shared: &Shared,
    target: &Target,
    subject: &Digest,
    artifact_type: &str,
) -> Result<Vec<Referrer>, RegistryError> {
    let mut url = target.referrers_url(subject);
    url.query_pairs_mut().append_pair("artifactType", artifact_type);
    let mut found = Vec::new();
    for _ in 0..MAX_PAGES {
        let (bytes, headers) = ask(shared, target, url.clone()).await?;
        read(target, &bytes, artifact_type, &mut found)?;
        let link = headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok()).find_map(next);
        let Some(next) = link.and_then(|next| url.join(next).ok()).filter(|next| target.owns(next)) else {
            break;
        };
        if found.len() >= MAX_FOUND {
            break;
        }
        url = next;
    }
    Ok(found)
}

async fn by_tag(
    shared: &Shared,
    target: &Target,
    subject: &Digest,
    artifact_type: &str,
) -> Result<Vec<Referrer>, RegistryError> {
    let tag = subject.as_str().replacen(':', "-", 1);
    let mut found = Vec::new();
    match ask(shared, target, target.manifest_url(&tag)).await {
        Ok((bytes, _)) => read(target, &bytes, artifact_type, &mut found)?,
        // No tag: nothing refers to it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

async fn ask(
    shared: &Shared,
    target: &Target,
    url: Url,
) -> Result<(Bytes, reqwest::header::HeaderMap), RegistryError> {
    let question =
        Question { operation: Operation::Referrers, method: Method::GET, range: None, accept: Some(INDEX) };
    shared.get_small(target, url, &question, MAX_PAGE).await
}

/// Adds what is of the wanted type: registries need not filter. What has no usable digest is left out.
fn read(
    target: &Target,
    page: &[u8],
    artifact_type: &str,
    found: &mut Vec<Referrer>,
) -> Result<(), RegistryError> {
    let page: Page = serde_json::from_slice(page).map_err(|error| {
        let context = target.context(Operation::Referrers);
        RegistryError::new(&context, ErrorKind::Protocol, format!("not an image index: {error}"))
    })?;
    for Descriptor { digest, size, artifact_type: own } in page.manifests.unwrap_or_default() {
        if own.as_deref() == Some(artifact_type)
            && let Ok(digest) = digest.parse()
            && found.len() < MAX_FOUND
        {
            found.push(Referrer { digest, size });
        }
    }
    Ok(())
}

/// The target of `<target>; rel="next"` (RFC 8288).
fn next(link: &str) -> Option<&str> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| matches!(parameter.trim(), "rel=next" | "rel=\"next\"");
    parameters.split(';').any(is_next).then_some(url)
}
