//! containerd's content store, read only.
//!
//! A blob that is a file below containerd's root is read as that file: no round trip, and it works while
//! containerd restarts. Elsewhere (another root, a content plugin of its own) the content API answers, for
//! which containerd wants the namespace. Whatever comes is checked against the digest that was asked for, so
//! neither way needs to be trusted, and a file of another namespace is as good as one of ours.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use peel_layer::LayerDigest;
use peel_proto::{
    at_socket,
    containerd::services::content::v1::{ReadContentRequest, content_client::ContentClient},
};
use tonic::transport::Channel;

use crate::{config, namespace};

/// Largest document that is read: a manifest or a config. Registries limit manifests to 4 MiB.
const MAX_DOCUMENT: u64 = 8 << 20;

/// Why a document could not be had. The image is then ordinary; the text is the reason that is shown.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The name is not a sha256 digest.
    #[error("{0:?} is not a sha256 digest")]
    Name(String),
    /// Too large for what it claims to be.
    #[error("{digest} has more than {MAX_DOCUMENT} bytes")]
    TooLarge {
        /// The blob.
        digest: String,
    },
    /// The bytes are not those of the digest.
    #[error("{digest} in containerd's content store has other bytes than its digest says")]
    Damaged {
        /// The blob.
        digest: String,
    },
    /// The API does not have it, or does not answer.
    #[error("{digest} is not in containerd's content store: {reason}")]
    Missing {
        /// The blob.
        digest: String,
        /// What the API said.
        reason: String,
    },
}

/// See the module's header.
#[derive(Debug, Clone)]
pub struct ContentStore {
    blobs: PathBuf,
    client: ContentClient<Channel>,
    timeout: Duration,
}

impl ContentStore {
    /// Connects at the first use, not now.
    #[must_use]
    pub fn new(config: &config::Containerd) -> Self {
        Self {
            blobs: config.root.join("io.containerd.content.v1.content/blobs/sha256"),
            client: ContentClient::new(at_socket(&config.address).connect_lazy()),
            timeout: config.timeout,
        }
    }

    /// The file of a layer's blob, if containerd has the whole of it.
    #[must_use]
    pub fn blob_file(&self, digest: &LayerDigest, size: u64) -> Option<PathBuf> {
        let path = self.blobs.join(digest.hex());
        let metadata = std::fs::metadata(&path).ok()?;
        (metadata.is_file() && metadata.len() == size).then_some(path)
    }

    /// A manifest or config by its digest, checked.
    ///
    /// # Errors
    /// [`ContentError`].
    pub async fn document(&self, namespace: &str, digest: &str) -> Result<Vec<u8>, ContentError> {
        let expected: LayerDigest =
            digest.parse().map_err(|_| ContentError::Name(digest.chars().take(100).collect()))?;
        let bytes = match read_file(&self.blobs.join(expected.hex())).await {
            Some(bytes) => bytes,
            None => tokio::time::timeout(self.timeout, self.read_api(namespace, digest))
                .await
                .map_err(|_| missing(digest, "containerd's content API did not answer in time"))??,
        };
        if LayerDigest::of(&bytes) == expected {
            Ok(bytes)
        } else {
            Err(ContentError::Damaged { digest: digest.to_owned() })
        }
    }

    async fn read_api(&self, namespace: &str, digest: &str) -> Result<Vec<u8>, ContentError> {
        let message = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let request = namespace::request(namespace, message);
        let failed = |status: tonic::Status| missing(digest, status.message());
        let mut stream = self.client.clone().read(request).await.map_err(failed)?.into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = stream.message().await.map_err(failed)? {
            bytes.extend_from_slice(&part.data);
            if bytes.len() as u64 > MAX_DOCUMENT {
                return Err(ContentError::TooLarge { digest: digest.to_owned() });
            }
        }
        Ok(bytes)
    }
}

fn missing(digest: &str, reason: &str) -> ContentError {
    ContentError::Missing { digest: digest.to_owned(), reason: reason.to_owned() }
}

/// The whole file, unless it is absent, unreadable, or too large: then the API has the last word.
async fn read_file(path: &Path) -> Option<Vec<u8>> {
    let length = tokio::fs::metadata(path).await.ok()?.len();
    if length > MAX_DOCUMENT {
        return None;
    }
    tokio::fs::read(path).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(root: &Path) -> ContentStore {
        ContentStore::new(&config::Containerd {
            root: root.to_owned(),
            address: root.join("absent.sock"),
            timeout: Duration::from_secs(1),
        })
    }

    #[tokio::test]
    async fn files_are_checked() {
        let root = tempfile::tempdir().unwrap();
        let blobs = root.path().join("io.containerd.content.v1.content/blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let (good, bad) = (LayerDigest::of(b"good"), LayerDigest::of(b"bad"));
        std::fs::write(blobs.join(good.hex()), b"good").unwrap();
        std::fs::write(blobs.join(bad.hex()), b"evil").unwrap();
        let store = store(root.path());
        assert_eq!(store.document("k8s.io", &good.to_string()).await.unwrap(), b"good");
        assert!(matches!(
            store.document("k8s.io", &bad.to_string()).await,
            Err(ContentError::Damaged { .. })
        ));
        assert_eq!(store.blob_file(&good, 4), Some(blobs.join(good.hex())));
        assert_eq!(store.blob_file(&good, 5), None);
    }

    #[tokio::test]
    async fn absent_and_misnamed() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        let absent = LayerDigest::of(b"x").to_string();
        assert!(matches!(store.document("k8s.io", &absent).await, Err(ContentError::Missing { .. })));
        for name in ["", "sha256:../../../../etc/passwd", "sha512:00"] {
            assert!(matches!(store.document("k8s.io", name).await, Err(ContentError::Name(_))), "{name}");
        }
    }
}
