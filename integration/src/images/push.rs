//! Uploads a [`Layout`] to a registry.
//!
//! A client of our own, because the common ones tidy up: they drop annotations, check media types, or refuse a
//! manifest whose layers they cannot read, and those are the images that tests are about.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Body, Client, StatusCode, header};

use super::layout::{Descriptor, Layout};
use crate::runtime::block_on;

/// Bound of one upload: the largest test layer is 300 MB and the registry is on this machine.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Where an image goes.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `address:port` of a registry that speaks plain HTTP.
    pub host: String,
    /// Repository inside it.
    pub repository: String,
    /// Tag.
    pub tag: String,
    /// User and password, when the registry asks for them.
    pub credentials: Option<(String, String)>,
}

/// An image in a registry.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// `host/repository:tag`.
    pub reference: String,
    /// `sha256:…` of the manifest.
    pub manifest_digest: String,
    /// Bytes of all layers, as they travel.
    pub layer_bytes: u64,
}

impl Destination {
    /// A registry without passwords.
    pub fn new(host: impl Into<String>, repository: &str, tag: &str) -> Self {
        Self { host: host.into(), repository: repository.into(), tag: tag.into(), credentials: None }
    }

    fn url(&self, rest: &str) -> String {
        format!("http://{}/v2/{}/{rest}", self.host, self.repository)
    }
}

/// Uploads all blobs that the registry lacks, then the manifest.
///
/// # Errors
/// When the layout is damaged, or the registry does not take a part; the error names the request.
pub fn push(layout: &Layout, destination: &Destination) -> Result<Pushed> {
    block_on(upload(layout, destination))?
}

async fn upload(layout: &Layout, destination: &Destination) -> Result<Pushed> {
    // The client wants a TLS provider even for plain HTTP; a second installation is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(UPLOAD_TIMEOUT).no_proxy().build()?;
    let pusher = Pusher { client, destination };
    let descriptor = layout.manifest_descriptor()?;
    let manifest = layout.manifest()?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        pusher.blob(layout, blob).await?;
    }
    let bytes = tokio::fs::read(layout.blob_path(&descriptor.digest)).await?;
    pusher.manifest(&manifest.media_type, bytes).await?;
    Ok(Pushed {
        reference: format!("{}/{}:{}", destination.host, destination.repository, destination.tag),
        manifest_digest: descriptor.digest,
        layer_bytes: manifest.layer_bytes(),
    })
}

/// Uploads a document, which may be no image (an index, an artifact's manifest), as the destination's tag, which may
/// also be its digest; and before it the blobs that it names.
///
/// # Errors
/// When the registry does not take a part; the error names the request.
pub fn push_document(
    destination: &Destination,
    media_type: &str,
    document: Vec<u8>,
    layout: &Layout,
    blobs: &[Descriptor],
) -> Result<()> {
    block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(UPLOAD_TIMEOUT).no_proxy().build()?;
        let pusher = Pusher { client, destination };
        for blob in blobs {
            pusher.blob(layout, blob).await?;
        }
        pusher.manifest(media_type, document).await
    })?
}

struct Pusher<'a> {
    client: Client,
    destination: &'a Destination,
}

impl Pusher<'_> {
    async fn manifest(&self, media_type: &str, bytes: Vec<u8>) -> Result<()> {
        let url = self.destination.url(&format!("manifests/{}", self.destination.tag));
        let request = self.client.put(&url).header(header::CONTENT_TYPE, media_type).body(bytes);
        self.send(request, StatusCode::CREATED).await.map(drop)
    }

    /// Uploads one blob in one piece, unless the registry has it.
    async fn blob(&self, layout: &Layout, blob: &Descriptor) -> Result<()> {
        let url = self.destination.url(&format!("blobs/{}", blob.digest));
        if self.authorized(self.client.head(&url)).send().await?.status() == StatusCode::OK {
            return Ok(());
        }
        let begin = self.client.post(self.destination.url("blobs/uploads/"));
        let response = self.send(begin, StatusCode::ACCEPTED).await?;
        let location = response.headers().get(header::LOCATION).context("the registry named no upload")?;
        let mut upload = reqwest::Url::parse(&self.destination.url(""))?.join(location.to_str()?)?;
        upload.query_pairs_mut().append_pair("digest", &blob.digest);
        let path = layout.blob_path(&blob.digest);
        let bytes =
            tokio::fs::read(&path).await.with_context(|| format!("cannot read {}", path.display()))?;
        let put = self
            .client
            .put(upload)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(Body::from(bytes));
        self.send(put, StatusCode::CREATED).await?;
        Ok(())
    }

    async fn send(&self, request: reqwest::RequestBuilder, wanted: StatusCode) -> Result<reqwest::Response> {
        let request = self.authorized(request).build()?;
        let what = format!("{} {}", request.method(), request.url());
        let response = self.client.execute(request).await.with_context(|| what.clone())?;
        let status = response.status();
        if status != wanted {
            let answer = response.text().await.unwrap_or_default();
            bail!("{what}: {status} instead of {wanted}: {answer}");
        }
        Ok(response)
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.destination.credentials {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}
