//! An image on disk as OCI lays it out: `oci-layout`, `index.json`, `blobs/sha256/<hex>`; one manifest per layout.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// OCI's media type of an image manifest.
pub const MEDIA_TYPE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's media type of an image index.
pub const MEDIA_TYPE_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A reference to a blob, as manifests and indexes write it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the blob claims to be.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// `sha256:…` of the blob.
    pub digest: String,
    /// Length of the blob in bytes.
    pub size: u64,
    /// What the packer wanted to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor without annotations.
    pub fn new(media_type: &str, digest: String, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new() }
    }
}

/// An image manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// What the manifest claims to be; some packers leave it out.
    #[serde(rename = "mediaType", default = "manifest_media_type")]
    pub media_type: String,
    /// The image's config.
    pub config: Descriptor,
    /// Layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// What it refers to, in artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Of the manifest itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Bytes of all layers as they travel (compressed).
    #[must_use]
    pub fn layer_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

fn manifest_media_type() -> String {
    MEDIA_TYPE_MANIFEST.to_owned()
}

#[derive(Serialize, Deserialize)]
struct Index {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    manifests: Vec<Descriptor>,
}

/// A directory that holds one image.
#[derive(Clone, Debug)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// Makes an empty layout in a directory, which may exist.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn create(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory.join("blobs/sha256"))
            .with_context(|| format!("cannot make an image layout in {}", directory.display()))?;
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Uses a layout that exists.
    #[must_use]
    pub fn open(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The layout's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Where the blob of this digest (`sha256:…`) is or would be.
    #[must_use]
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.directory.join("blobs").join(digest.replacen(':', "/", 1))
    }

    /// Stores a blob.
    ///
    /// # Errors
    /// When the layout cannot be written.
    pub fn add_blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let digest = digest_text(&Sha256::digest(bytes));
        let path = self.blob_path(&digest);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    /// Stores a manifest and makes it the layout's image.
    ///
    /// # Errors
    /// When the layout cannot be written.
    pub fn set_manifest(&self, manifest: &Manifest) -> Result<Descriptor> {
        let descriptor = self.add_blob(&manifest.media_type, &serde_json::to_vec_pretty(manifest)?)?;
        let index = Index { schema_version: 2, manifests: vec![descriptor.clone()] };
        fs::write(self.directory.join("index.json"), serde_json::to_vec(&index)?)?;
        Ok(descriptor)
    }

    /// The descriptor of the layout's manifest, through an index of one platform if there is one.
    ///
    /// # Errors
    /// When the layout holds no image, or is damaged.
    pub fn manifest_descriptor(&self) -> Result<Descriptor> {
        let mut index_file = self.directory.join("index.json");
        // An export writes index.json → index → manifest; deeper nesting is nobody's.
        for _ in 0..3 {
            let index: Index = read_json(&index_file)?;
            match index.manifests.into_iter().next() {
                Some(inner) if inner.media_type == MEDIA_TYPE_INDEX => {
                    index_file = self.blob_path(&inner.digest);
                }
                Some(manifest) => return Ok(manifest),
                None => break,
            }
        }
        bail!("{} holds no image manifest", self.directory.display())
    }

    /// The layout's manifest.
    ///
    /// # Errors
    /// When the layout holds no image, or is damaged.
    pub fn manifest(&self) -> Result<Manifest> {
        read_json(&self.blob_path(&self.manifest_descriptor()?.digest))
    }

    /// A copy of this image in `directory` whose manifest was changed, e.g. a layer's media type or annotation.
    /// Blobs are hard links: the copy costs no space.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub fn derive(&self, directory: &Path, change: impl FnOnce(&mut Manifest)) -> Result<Self> {
        let copy = Self::create(directory)?;
        let mut manifest = self.manifest()?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let (from, to) = (self.blob_path(&blob.digest), copy.blob_path(&blob.digest));
            if !to.exists() && fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
            }
        }
        change(&mut manifest);
        copy.set_manifest(&manifest)?;
        Ok(copy)
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not what it should be", path.display()))
}

/// `sha256:` and the hexadecimal digits of a hash.
pub(crate) fn digest_text(hash: &[u8]) -> String {
    hash.iter().fold(String::from("sha256:"), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
