//! Recognising the one kind of Prepare that may be answered with "exists already".
//!
//! Labels are hostile twice over: an image brings layer annotations, and a pod brings its own annotations on the
//! sandbox's Prepare, `snapshot.ref` and `cri.*` among them; a snapshotter that believed those would register any
//! blob under any chain id (contract §2.3, proven). What a pod cannot choose is the key: the unpacker's begin with
//! `extract-`. So only such keys with all labels well formed are recognised; everything else is an ordinary
//! Prepare, whatever its labels say.

use peel_layer::{ChainId, LayerDigest, ManifestDigest};
use sha2::{Digest as _, Sha256};

use crate::{
    metastore::{Labels, SnapshotRecord},
    remote::Extraction,
};

/// The chain id that the unpacker wants.
pub(super) const TARGET: &str = "containerd.io/snapshot.ref";
const IMAGE_REF: &str = "containerd.io/snapshot/cri.image-ref";
const MANIFEST_DIGEST: &str = "containerd.io/snapshot/cri.manifest-digest";
const LAYER_DIGEST: &str = "containerd.io/snapshot/cri.layer-digest";
/// Digests of this and the later layers.
const IMAGE_LAYERS: &str = "containerd.io/snapshot/cri.image-layers";

/// A key as containerd's metadata store makes it: `<namespace>/<number>/<the client's key>` (contract §1.2). The
/// last part is opaque and may hold slashes.
struct BackendKey<'a> {
    namespace: &'a str,
    client: &'a str,
}

impl<'a> BackendKey<'a> {
    fn parse(key: &'a str) -> Option<Self> {
        let mut parts = key.splitn(3, '/');
        let (namespace, number, client) = (parts.next()?, parts.next()?, parts.next()?);
        let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (numbered && !namespace.is_empty()).then_some(Self { namespace, client })
    }
}

/// The extraction that this Prepare belongs to, if it is one and well formed.
pub(super) fn recognise(key: &str, parent: Option<&SnapshotRecord>, labels: &Labels) -> Option<Extraction> {
    let backend = BackendKey::parse(key)?;
    if !backend.client.starts_with("extract-") {
        return None;
    }
    let label = |name| labels.get(name).map(String::as_str);
    let target: ChainId = label(TARGET)?.parse().ok()?;
    let layer_digest: LayerDigest = label(LAYER_DIGEST)?.parse().ok()?;
    let manifest_digest: ManifestDigest = label(MANIFEST_DIGEST)?.parse().ok()?;
    let first = label(IMAGE_LAYERS)?.split(',').next()?;
    if first.parse() != Ok(layer_digest) {
        return None;
    }
    let image_ref =
        label(IMAGE_REF).filter(|text| !text.is_empty() && !text.chars().any(char::is_control))?;
    Some(Extraction {
        namespace: backend.namespace.to_owned(),
        key: key.to_owned(),
        target,
        parent: parent.cloned(),
        image_ref: image_ref.to_owned(),
        manifest_digest,
        layer_digest,
        labels: labels.clone(),
        existing: None,
    })
}

/// Name of the snapshot that Peel provides for `target` upon `parent`: a function of both, so that namespaces
/// share it exactly when their parents are the same, and a retry finds it (contract §2.5). It cannot be one of
/// containerd's, which have three parts.
pub(super) fn remote_name(parent: Option<&str>, target: &ChainId) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(format!("{}\n{target}", parent.unwrap_or_default()));
    digest.iter().fold("peel/".to_owned(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// containerd's key of a committed snapshot: its chain id, where an unpacker made it.
pub(super) fn chain_of(snapshot: &SnapshotRecord) -> Option<&str> {
    let own = || BackendKey::parse(&snapshot.key).map(|key| key.client);
    snapshot.remote.as_ref().map(|remote| remote.chain_id.as_str()).or_else(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "k8s.io/12/extract-46696217--6eU sha256:5aa4";

    fn labels() -> Labels {
        let digest = |byte: u8| LayerDigest::from_bytes([byte; 32]).to_string();
        Labels::from([
            (TARGET.into(), digest(1)),
            (LAYER_DIGEST.into(), digest(2)),
            (MANIFEST_DIGEST.into(), digest(3)),
            (IMAGE_LAYERS.into(), format!("{},{}", digest(2), digest(4))),
            (IMAGE_REF.into(), "registry.example/app:1".into()),
        ])
    }

    #[test]
    fn recognises_the_unpacker() {
        let Some(extraction) = recognise(KEY, None, &labels()) else { panic!("not recognised") };
        assert_eq!(extraction.namespace, "k8s.io");
        assert_eq!(extraction.image_ref, "registry.example/app:1");
        assert_eq!(extraction.layer_digest, LayerDigest::from_bytes([2; 32]));
    }

    #[test]
    fn other_keys_are_ordinary_whatever_the_labels_say() {
        for key in [
            "",
            "extract-1 sha256:5aa4",
            "k8s.io/12/sandbox",
            "k8s.io/12/x/extract-1",
            "k8s.io//extract-1",
            "k8s.io/x/extract-1",
            "/12/extract-1",
            "k8s.io/12//run/extract-1",
        ] {
            assert!(recognise(key, None, &labels()).is_none(), "{key}");
        }
    }

    #[test]
    fn malformed_labels_are_ordinary() {
        for name in [TARGET, LAYER_DIGEST, MANIFEST_DIGEST, IMAGE_LAYERS, IMAGE_REF] {
            let mut missing = labels();
            missing.remove(name);
            assert!(recognise(KEY, None, &missing).is_none(), "without {name}");
            for bad in ["", "sha256:00", "../../x", "\n"] {
                let mut malformed = labels();
                malformed.insert(name.into(), bad.into());
                if name != IMAGE_REF || bad.is_empty() || bad == "\n" {
                    assert!(recognise(KEY, None, &malformed).is_none(), "{name}={bad:?}");
                }
            }
        }
    }

    #[test]
    fn names_depend_on_parent_and_target() {
        let (a, b) = (ChainId::of(b"a"), ChainId::of(b"b"));
        let name = remote_name(Some("k8s.io/1/x"), &a);
        assert_eq!(name, remote_name(Some("k8s.io/1/x"), &a));
        assert_ne!(name, remote_name(Some("k8s.io/2/x"), &a));
        assert_ne!(name, remote_name(Some("k8s.io/1/x"), &b));
        assert_ne!(name, remote_name(None, &a));
        assert!(BackendKey::parse(&name).is_none());
    }
}
