//! An unpacker by hand: containerd's Snapshots service, called as its own unpacker calls it.
//!
//! No blob is pulled and no client of containerd's is needed, so this works with every version and in any
//! namespace, and it can say what no honest unpacker says (contract §2.9).

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use peel_layer::{ChainId, DiffId};
use peel_proto::{
    at_socket,
    containerd::services::snapshots::v1::{
        MountsRequest, PrepareSnapshotRequest, StatSnapshotRequest, snapshots_client::SnapshotsClient,
    },
};
use serde::Deserialize;
use tonic::{Request, Response, Status, transport::Channel};

use crate::{images::Layout, runtime::block_on};

/// A layer as an unpacker announces it.
#[derive(Debug, Clone)]
pub struct Announced {
    /// The image's reference.
    pub image: String,
    /// `sha256:…` of the manifest.
    pub manifest: String,
    /// `sha256:…` of the blob.
    pub layer: String,
    /// Chain id below; empty for the lowest layer.
    pub parent: String,
    /// Chain id with this layer.
    pub chain: String,
}

impl Announced {
    /// The layers of an image, the lowest first, as an honest unpacker announces them.
    ///
    /// # Errors
    /// When the layout is damaged.
    pub fn image(reference: &str, layout: &Layout) -> Result<Vec<Self>> {
        #[derive(Deserialize)]
        struct Config {
            rootfs: RootFs,
        }
        #[derive(Deserialize)]
        struct RootFs {
            diff_ids: Vec<DiffId>,
        }
        let (digest, manifest) = (layout.manifest_descriptor()?.digest, layout.manifest()?);
        let config: Config =
            serde_json::from_slice(&std::fs::read(layout.blob_path(&manifest.config.digest))?)?;
        let mut below: Option<ChainId> = None;
        let layers = manifest.layers.iter().zip(config.rootfs.diff_ids).map(|(layer, diff_id)| {
            let parent = below.map(|chain| chain.to_string()).unwrap_or_default();
            let chain = below.map_or_else(|| ChainId::first(diff_id), |chain| chain.push(diff_id));
            below = Some(chain);
            Self {
                image: reference.to_owned(),
                manifest: digest.clone(),
                layer: layer.digest.clone(),
                parent,
                chain: chain.to_string(),
            }
        });
        Ok(layers.collect())
    }

    /// The labels of its Prepare.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let cri = |name: &str| format!("containerd.io/snapshot/cri.{name}");
        [
            ("containerd.io/snapshot.ref".to_owned(), &self.chain),
            (cri("image-ref"), &self.image),
            (cri("manifest-digest"), &self.manifest),
            (cri("layer-digest"), &self.layer),
            (cri("image-layers"), &self.layer),
        ]
        .map(|(name, value)| (name, value.clone()))
        .into()
    }
}

/// A client of the Snapshots service for one namespace, with a lease that keeps what it makes.
#[derive(Debug, Clone)]
pub struct Unpacker {
    client: SnapshotsClient<Channel>,
    namespace: String,
    lease: String,
}

impl Unpacker {
    /// Connects at the first call. `lease` is one of containerd's, in `namespace`.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(socket: &Path, namespace: &str, lease: &str) -> Result<Self> {
        let channel = block_on(async { at_socket(socket).connect_lazy() })?;
        let client = SnapshotsClient::new(channel);
        Ok(Self { client, namespace: namespace.to_owned(), lease: lease.to_owned() })
    }

    /// Prepare of a layer, under the key of an extraction. `AlreadyExists` says that Peel serves it.
    ///
    /// # Errors
    /// As containerd says; the code is in [`crate::cri::code`].
    pub fn announce(&self, layer: &Announced) -> Result<()> {
        let key = format!("extract-1-peel {}", layer.chain);
        self.prepare(&key, &layer.parent, layer.labels()).map(drop)
    }

    /// Prepare under any key; gives the options of the mounts.
    ///
    /// # Errors
    /// As containerd says.
    pub fn prepare(&self, key: &str, parent: &str, labels: BTreeMap<String, String>) -> Result<Vec<String>> {
        let (key, parent) = (key.to_owned(), parent.to_owned());
        let message = PrepareSnapshotRequest { snapshotter: "peel".into(), key, parent, labels };
        let mut client = self.client.clone();
        let answer = self.call("Prepare", message, |request| client.prepare(request))?;
        Ok(answer.mounts.into_iter().flat_map(|mount| mount.options).collect())
    }

    /// Stat, as the unpacker does it with what it adopted.
    ///
    /// # Errors
    /// As containerd says.
    pub fn stat(&self, key: &str) -> Result<()> {
        let message = StatSnapshotRequest { snapshotter: "peel".into(), key: key.to_owned() };
        let mut client = self.client.clone();
        self.call("Stat", message, |request| client.stat(request)).map(drop)
    }

    /// The options of a snapshot's mounts.
    ///
    /// # Errors
    /// As containerd says.
    pub fn mounts(&self, key: &str) -> Result<Vec<String>> {
        let message = MountsRequest { snapshotter: "peel".into(), key: key.to_owned() };
        let mut client = self.client.clone();
        let answer = self.call("Mounts", message, |request| client.mounts(request))?;
        Ok(answer.mounts.into_iter().flat_map(|mount| mount.options).collect())
    }

    fn call<Q, A, F>(&self, name: &'static str, message: Q, send: impl FnOnce(Request<Q>) -> F) -> Result<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", self.namespace.parse()?);
        request.metadata_mut().insert("containerd-lease", self.lease.parse()?);
        request.set_timeout(crate::cri::CALL_LIMIT);
        let answer = block_on(send(request))?;
        Ok(answer.with_context(|| format!("Snapshots {name}"))?.into_inner())
    }
}
