//! An image to be: layers and what the config says of running it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::layer::Layer;
use super::layout::{Layout, MEDIA_TYPE_MANIFEST, Manifest};

const MEDIA_TYPE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image as a test describes it; [`Image::write`] makes a [`Layout`] of it.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Layers, the lowest first.
    pub layers: Vec<Layer>,
    /// How a container of it runs.
    pub config: Config,
}

/// The part of an image's config that tests set.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// Directory to start in; empty is `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// User to run as, name or number; containerd looks it up in the image's `/etc/passwd`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Paths whose content containerd copies out at CreateContainer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct ConfigFile<'a> {
    architecture: &'static str,
    os: &'static str,
    config: &'a Config,
    rootfs: RootFs,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: Vec<String>,
}

impl Image {
    /// An image whose container runs `cmd`.
    #[must_use]
    pub fn new(layers: Vec<Layer>, cmd: &[&str]) -> Self {
        let cmd = cmd.iter().map(ToString::to_string).collect();
        let env = vec!["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned()];
        Self { layers, config: Config { cmd, env, ..Config::default() } }
    }

    /// Declares a `VOLUME`.
    #[must_use]
    pub fn volume(mut self, path: &str) -> Self {
        self.config.volumes.insert(path.to_owned(), BTreeMap::new());
        self
    }

    /// Writes the image into `directory`. The same description gives the same digests.
    ///
    /// # Errors
    /// When the layout cannot be written or the content of an entry cannot be read.
    pub fn write(&self, directory: &Path) -> Result<Layout> {
        let layout = Layout::create(directory)?;
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for layer in &self.layers {
            let written = layer.write(&layout)?;
            layers.push(written.descriptor);
            diff_ids.push(written.diff_id);
        }
        let config = ConfigFile {
            architecture: architecture(),
            os: "linux",
            config: &self.config,
            rootfs: RootFs { r#type: "layers", diff_ids },
        };
        let config = layout.add_blob(MEDIA_TYPE_CONFIG, &serde_json::to_vec_pretty(&config)?)?;
        let media_type = MEDIA_TYPE_MANIFEST.to_owned();
        let annotations = BTreeMap::new();
        let manifest = Manifest { schema_version: 2, media_type, config, layers, subject: None, annotations };
        layout.set_manifest(&manifest)?;
        Ok(layout)
    }
}

/// This machine's architecture in Go's words, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
