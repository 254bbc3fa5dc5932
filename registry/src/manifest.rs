//! Manifests: small JSON documents that are taken whole and checked whole.

use bytes::Bytes;
use reqwest::{Method, header::CONTENT_TYPE};

use crate::{
    Shared,
    digest::Digest,
    error::{ErrorKind, Operation, RegistryError},
    exchange::Question,
    hosts::Target,
    reference::ImageReference,
};

/// The distribution specification asks registries to take manifests of 4 MiB; nobody sends larger ones.
const MAX_MANIFEST: usize = 4 << 20;

/// What this client can be sent; the specification's types and docker's.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest or index as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `Content-Type` without parameters; empty if the registry sent none.
    pub media_type: String,
    /// sha256 of `bytes`, or the digest that it was asked by, which `bytes` match.
    pub digest: Digest,
    /// The document.
    pub bytes: Bytes,
}

pub(crate) async fn get(
    shared: &Shared,
    target: &Target,
    reference: &ImageReference,
) -> Result<Manifest, RegistryError> {
    let question =
        Question { operation: Operation::Manifest, method: Method::GET, range: None, accept: Some(ACCEPT) };
    let url = target.manifest_url(reference.manifest_name());
    let (bytes, headers) = shared.get_small(target, url, &question, MAX_MANIFEST).await?;
    let digest = match reference.digest() {
        None => Digest::of(&bytes),
        Some(digest) if digest.matches(&bytes) => digest.clone(),
        Some(digest) => {
            let context = target.context(Operation::Manifest);
            return Err(RegistryError::new(
                &context,
                ErrorKind::WrongDigest,
                format!("they are not {digest}"),
            ));
        }
    };
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
    Ok(Manifest { media_type, digest, bytes })
}
