//! Images from documents, good and bad.

use peel_layer::{stream::Compression, zstd_chunked::Vouched};
use serde_json::json;

use super::*;

fn digest(text: &str) -> String {
    LayerDigest::of(text.as_bytes()).to_string()
}

fn manifest(layers: &[serde_json::Value]) -> Vec<u8> {
    let config =
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest("c"), "size": 2});
    serde_json::to_vec(&json!({"schemaVersion": 2, "config": config, "layers": layers})).unwrap()
}

fn config(diff_ids: &[String]) -> Vec<u8> {
    serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux", "config": {"Volumes": {"/data": {}, "/var/lib/x": {}}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))
    .unwrap()
}

fn layer(name: &str, media_type: &str, toc: Option<&str>) -> serde_json::Value {
    let annotations: HashMap<_, _> =
        toc.map(|toc| ("containerd.io/snapshot/stargz/toc.digest", toc)).into_iter().collect();
    json!({"mediaType": media_type, "digest": digest(name), "size": 10, "annotations": annotations})
}

const OCI: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[test]
fn chain_and_volumes() {
    let manifest = manifest(&[layer("a", OCI, Some(&digest("t"))), layer("a", OCI, None)]);
    let image = Image::parse(&manifest, &config(&[digest("da"), digest("da")])).unwrap();
    let diff_id: DiffId = digest("da").parse().unwrap();
    assert_eq!(image.layers[1].chain_id, ChainId::first(diff_id).push(diff_id));
    assert_eq!(image.position(&image.layers[0].digest, &image.layers[1].chain_id), Some(1));
    assert!(image.volumes.contains("/data"));
    let ways = support(&image.layers[0]).unwrap().ways;
    let stream = Way::Stream(diff_id, Compression::Gzip);
    assert_eq!(ways, [Way::EStargz(digest("t").parse().unwrap()), stream.clone()]);
    let plain = support(&image.layers[1]).unwrap();
    assert_eq!(plain.ways, [stream]);
    assert!(plain.why.contains("not eStargz"));
}

#[test]
fn unserved_media_types_say_so() {
    for (media_type, why) in [
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "places of its own"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "places of its own"),
        ("application/x-other", "not that of a layer"),
    ] {
        let image =
            Image::parse(&manifest(&[layer("a", media_type, None)]), &config(&[digest("d")])).unwrap();
        let reason = support(&image.layers[0]).unwrap_err();
        assert!(reason.contains(media_type) && reason.contains(why), "{reason}");
    }
}

#[test]
fn unusable_documents() {
    let two = [digest("d"), digest("e")];
    for (manifest, config) in [
        (b"{".to_vec(), config(&[])),
        (manifest(&[]), b"[]".to_vec()),
        (manifest(&[layer("a", OCI, None)]), config(&two)),
        (manifest(&[layer("a", OCI, None)]), config(&["sha512:00".into()])),
    ] {
        assert!(Image::parse(&manifest, &config).is_err());
    }
}

#[test]
fn zstd_chunked_of_three_writers() {
    let (toc, checksum) = (digest("t"), digest("c"));
    let ways = |annotations: &[(&str, &str)]| {
        let annotations: HashMap<_, _> = annotations.iter().copied().collect();
        let layer = json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": digest("a"), "size": 10,
            "annotations": annotations,
        });
        let image = Image::parse(&manifest(&[layer]), &config(&[digest("d")])).unwrap();
        support(&image.layers[0]).unwrap()
    };
    let stream = Way::Stream(digest("d").parse().unwrap(), Compression::Zstd);
    let stargz = Way::ZstdChunked {
        vouched: Vouched::Json(toc.parse().unwrap()),
        position: Some("8:9:10:1".to_owned()),
    };
    let storage = Way::ZstdChunked {
        vouched: Vouched::Compressed(checksum.parse().unwrap()),
        position: Some("8:9:10:1".to_owned()),
    };
    for prefix in ["io.containers.zstd-chunked", "io.github.containers.zstd-chunked"] {
        let (sum, at) = (format!("{prefix}.manifest-checksum"), format!("{prefix}.manifest-position"));
        let named = [(sum.as_str(), checksum.as_str()), (at.as_str(), "8:9:10:1")];
        assert_eq!(ways(&named).ways, [storage.clone(), stream.clone()]);
        let both = [named.as_slice(), &[("containerd.io/snapshot/stargz/toc.digest", toc.as_str())]].concat();
        assert_eq!(ways(&both).ways, [stargz.clone(), stream.clone()]);
        for (incomplete, why) in
            [(vec![named[0]], "manifest-position"), (vec![(sum.as_str(), "md5:1"), named[1]], prefix)]
        {
            let support = ways(&incomplete);
            assert_eq!(support.ways, std::slice::from_ref(&stream));
            assert!(support.why.contains(why), "{}", support.why);
        }
    }
}
