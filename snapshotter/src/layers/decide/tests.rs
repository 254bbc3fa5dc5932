//! Decisions about images in a content store on disk.

use std::{collections::BTreeMap, time::Duration};

use peel_layer::{DiffId, LayerDigest};
use serde_json::json;

use super::{
    super::error::{Cause, GateError},
    *,
};
use crate::{
    config,
    metastore::{Kind, SnapshotId, SnapshotRecord, Timestamp},
};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

struct Store {
    root: tempfile::TempDir,
    images: Images,
    failures: Failures,
}

impl Store {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = config::Containerd {
            root: root.path().to_owned(),
            address: root.path().join("absent.sock"),
            timeout: Duration::from_millis(100),
        };
        let images = Images::new(ContentStore::new(&config));
        Self { root, images, failures: Failures::new(Duration::from_secs(600)) }
    }

    fn put(&self, document: &serde_json::Value) -> (ManifestDigest, usize) {
        let bytes = serde_json::to_vec(document).unwrap();
        let digest = ManifestDigest::of(&bytes);
        let blobs = self.root.path().join("io.containerd.content.v1.content/blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(digest.hex()), &bytes).unwrap();
        (digest, bytes.len())
    }

    /// An image of eStargz layers with these names; `diff_ids` names what the config claims.
    fn image(&self, layers: &[(&str, &str)], diff_ids: &[&str]) -> ManifestDigest {
        let diff_ids: Vec<_> = diff_ids.iter().map(|name| DiffId::of(name.as_bytes()).to_string()).collect();
        let (config, size) = self.put(&json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }));
        let toc = LayerDigest::of(b"toc").to_string();
        let layers: Vec<_> = layers
            .iter()
            .map(|(name, media_type)| {
                json!({
                    "mediaType": media_type, "size": 10, "digest": layer(name).to_string(),
                    "annotations": {"containerd.io/snapshot/stargz/toc.digest": toc},
                })
            })
            .collect();
        let config = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.to_string(), "size": size,
        });
        self.put(&json!({"schemaVersion": 2, "config": config, "layers": layers})).0
    }

    async fn decide(&self, extraction: &Extraction) -> Decision {
        self.images.decide(extraction, &self.failures).await.0
    }
}

fn layer(name: &str) -> LayerDigest {
    LayerDigest::of(name.as_bytes())
}

fn chain(diff_ids: &[&str]) -> ChainId {
    let mut ids = diff_ids.iter().map(|name| DiffId::of(name.as_bytes()));
    let first = ChainId::first(ids.next().unwrap());
    ids.fold(first, ChainId::push)
}

fn extraction(manifest: ManifestDigest, name: &str, target: ChainId, parent: Option<ChainId>) -> Extraction {
    let parent = parent.map(|chain| SnapshotRecord {
        key: format!("k8s.io/7/{chain}"),
        id: SnapshotId(7),
        parent: None,
        kind: Kind::Committed,
        created: Timestamp(0),
        updated: Timestamp(0),
        labels: BTreeMap::new(),
        usage: None,
        remote: None,
    });
    Extraction {
        namespace: "k8s.io".to_owned(),
        key: format!("k8s.io/8/extract-1-AAAA {target}"),
        target,
        parent,
        image_ref: "r.example/app:1".to_owned(),
        manifest_digest: manifest,
        layer_digest: layer(name),
        labels: BTreeMap::new(),
        existing: None,
    }
}

#[tokio::test]
async fn all_layers_are_ours() {
    let store = Store::new();
    let manifest = store.image(&[("a", GZIP), ("b", GZIP)], &["da", "db"]);
    let first = store.decide(&extraction(manifest, "a", chain(&["da"]), None)).await;
    assert!(matches!(first, Decision::Ours(_)), "{first:?}");
    let second = extraction(manifest, "b", chain(&["da", "db"]), Some(chain(&["da"])));
    let Decision::Ours(record) = store.decide(&second).await else { panic!("not ours") };
    assert_eq!(record.layer_digest, layer("b").to_string());
    assert_eq!(record.chain_id, chain(&["da", "db"]).to_string());
}

#[tokio::test]
async fn one_layer_that_is_not_served_makes_all_ordinary() {
    let store = Store::new();
    let manifest = store.image(&[("a", GZIP), ("b", "application/x-other")], &["da", "db"]);
    let decision = store.decide(&extraction(manifest, "a", chain(&["da"]), None)).await;
    assert!(matches!(&decision, Decision::Ordinary { reason } if reason.contains("x-other")), "{decision:?}");
}

#[tokio::test]
async fn no_manifest_is_ordinary() {
    let store = Store::new();
    let decision = store.decide(&extraction(ManifestDigest::of(b"x"), "a", chain(&["da"]), None)).await;
    assert!(
        matches!(&decision, Decision::Ordinary { reason } if reason.contains("manifest")),
        "{decision:?}"
    );
}

#[tokio::test]
async fn chains_that_do_not_follow_are_refused() {
    let store = Store::new();
    let manifest = store.image(&[("a", GZIP), ("b", GZIP)], &["da", "db"]);
    let good = chain(&["da"]);
    for forged in [
        // Another image's chain over this image's blob.
        extraction(manifest, "a", chain(&["victim"]), None),
        extraction(manifest, "b", chain(&["da", "victim"]), Some(good)),
        // The right target on the wrong parent, or on none.
        extraction(manifest, "b", chain(&["da", "db"]), Some(chain(&["other"]))),
        extraction(manifest, "b", chain(&["da", "db"]), None),
        extraction(manifest, "a", good, Some(good)),
        // A blob that the manifest does not have.
        extraction(manifest, "c", good, None),
    ] {
        let decision = store.decide(&forged).await;
        assert!(matches!(decision, Decision::Refuse(_)), "{forged:?}: {decision:?}");
    }
}

#[tokio::test]
async fn a_failure_makes_the_retry_ordinary() {
    let store = Store::new();
    let manifest = store.image(&[("a", GZIP)], &["da"]);
    let asked = extraction(manifest, "a", chain(&["da"]), None);
    store.failures.note(manifest, &GateError::new(Cause::Unauthenticated, "r.example/app:1", "a", "401"));
    let decision = store.decide(&asked).await;
    assert!(matches!(&decision, Decision::Ordinary { reason } if reason.contains("401")), "{decision:?}");
}
