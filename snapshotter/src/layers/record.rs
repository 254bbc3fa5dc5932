//! What is recorded of a layer that Peel serves, and how it is read.

use peel_layer::{IndexKey, LayerDigest};

use super::resolve::Resolved;
use crate::{
    image::{ImageLayer, Support, Way},
    metastore::RemoteSnapshot,
    remote::Extraction,
};

/// What is recorded when the decision is made.
pub(super) fn record(extraction: &Extraction, layer: &ImageLayer, support: &Support) -> RemoteSnapshot {
    RemoteSnapshot {
        chain_id: layer.chain_id.to_string(),
        diff_id: layer.diff_id.to_string(),
        layer_digest: layer.digest.to_string(),
        layer_size: layer.size,
        media_type: layer.media_type.clone(),
        manifest_digest: extraction.manifest_digest.to_string(),
        image_ref: extraction.image_ref.clone(),
        ways: support.ways.iter().map(Way::to_stored).collect(),
        why: support.why.clone(),
        ..RemoteSnapshot::default()
    }
}

/// Notes which way was taken.
pub(super) fn note_resolved(remote: &mut RemoteSnapshot, resolved: &Resolved) {
    remote.described_by = resolved.layer.key().described_by.to_string();
    remote.why.clone_from(&resolved.why);
}

/// The ways in which the layer can be made readable, in their order. Ways that this version does not know are left
/// out; records of older ones have a TOC's digest instead.
pub(super) fn ways(remote: &RemoteSnapshot) -> Vec<Way> {
    if remote.ways.is_empty() {
        return remote.toc_digest.parse().map(Way::EStargz).into_iter().collect();
    }
    remote.ways.iter().filter_map(Way::from_stored).collect()
}

/// The same, the one that was taken before first: its index is usually on disk.
pub(super) fn ways_to_try(remote: &RemoteSnapshot) -> Vec<Way> {
    let mut ways = ways(remote);
    // A record that is not resolved stands for none of them yet.
    let taken = remote.described_by.parse().ok().and_then(|described_by| {
        let layer = remote.layer_digest.parse().ok()?;
        ways.iter().position(|way| way.key(layer) == Some(IndexKey { layer, described_by }))
    });
    if let Some(taken) = taken {
        ways[..=taken].rotate_right(1);
    }
    ways
}

/// The index that a snapshot stands for: the one that it was resolved to, or else the first that may be. Nothing for
/// a record that cannot be understood.
pub(super) fn index_key(remote: &RemoteSnapshot) -> Option<IndexKey> {
    index_keys(remote).into_iter().next()
}

/// All indexes that a snapshot may stand for: one, when it is resolved.
pub(super) fn index_keys(remote: &RemoteSnapshot) -> Vec<IndexKey> {
    let Ok(layer) = remote.layer_digest.parse::<LayerDigest>() else { return Vec::new() };
    match remote.described_by.parse() {
        Ok(described_by) => vec![IndexKey { layer, described_by }],
        Err(_) => ways(remote).iter().filter_map(|way| way.key(layer)).collect(),
    }
}

/// The way that leads to `key`. Where a SOCI index leads is not recorded: to what no other way leads to.
pub(super) fn way_of(remote: &RemoteSnapshot, key: &IndexKey) -> Option<Way> {
    let ways = ways(remote);
    let known = ways.iter().find(|way| way.key(key.layer) == Some(*key));
    known.or_else(|| ways.iter().find(|way| matches!(way, Way::Soci { .. }))).cloned()
}

#[cfg(test)]
mod tests {
    use peel_layer::{TocDigest, zstd_chunked::Vouched};

    use super::*;

    #[test]
    fn keys_before_and_after_it_is_resolved() {
        let (layer, first, second) =
            (LayerDigest::of(b"layer"), TocDigest::of(b"first"), TocDigest::of(b"second"));
        let all = [Way::EStargz(first), Way::ZstdChunked { vouched: Vouched::Json(second), position: None }];
        let mut remote = RemoteSnapshot {
            layer_digest: layer.to_string(),
            ways: all.iter().map(Way::to_stored).collect(),
            ..RemoteSnapshot::default()
        };
        let key = |described_by| IndexKey { layer, described_by };
        assert_eq!(index_keys(&remote), [key(first), key(second)]);
        assert_eq!(index_key(&remote), Some(key(first)));
        assert_eq!(ways_to_try(&remote), all);
        remote.described_by = second.to_string();
        assert_eq!(index_keys(&remote), [key(second)]);
        assert_eq!(way_of(&remote, &key(second)), Some(all[1].clone()));
        assert_eq!(ways_to_try(&remote), [all[1].clone(), all[0].clone()]);
    }

    #[test]
    fn records_of_older_versions_are_estargz() {
        let (layer, toc) = (LayerDigest::of(b"layer"), TocDigest::of(b"toc"));
        let remote = RemoteSnapshot {
            layer_digest: layer.to_string(),
            toc_digest: toc.to_string(),
            ..RemoteSnapshot::default()
        };
        assert_eq!(index_key(&remote), Some(IndexKey { layer, described_by: toc }));
        assert_eq!(ways(&remote), [Way::EStargz(toc)]);
        assert_eq!(index_key(&RemoteSnapshot::default()), None);
    }
}
