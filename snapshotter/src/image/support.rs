//! Which layers Peel can serve, and in which ways, judged by media type and annotations alone.

use peel_layer::{TocDigest, stream::Compression, zstd_chunked::Vouched};

use super::{ImageLayer, Way};

/// How a layer is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// What is tried, in this order: never empty. One that the image itself rules out (a TOC that is damaged, say) is
    /// followed by the next.
    pub ways: Vec<Way>,
    /// Why the first of them is the first.
    pub why: String,
}

/// Annotation with the digest of a TOC's JSON (stargz-snapshotter, `estargz.TOCJSONDigestAnnotation`): eStargz, and
/// zstd:chunked as stargz writes it.
const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Annotations of containers/storage, its names of today and those of 2022 (layer-formats.md, A.4): digest and place
/// of the compressed TOC.
const CHUNKED: [(&str, &str); 2] = [
    (
        "io.github.containers.zstd-chunked.manifest-checksum",
        "io.github.containers.zstd-chunked.manifest-position",
    ),
    ("io.containers.zstd-chunked.manifest-checksum", "io.containers.zstd-chunked.manifest-position"),
];

/// How a blob is compressed, by its media type: OCI image spec, media-types.md, and Docker's image manifest v2, schema
/// 2, with what containerd added to it.
const MEDIA_TYPES: [(&str, Compression); 6] = [
    ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
    ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::Zstd),
    ("application/vnd.oci.image.layer.v1.tar", Compression::None),
    ("application/vnd.docker.image.rootfs.diff.tar", Compression::Unknown),
];

/// How `layer` is served, or why it is not, in words for `peel layers` and the log.
///
/// # Errors
/// The reason. The image is then pulled as on overlayfs.
pub fn support(layer: &ImageLayer) -> Result<Support, String> {
    let known = MEDIA_TYPES.iter().find(|(media_type, _)| *media_type == layer.media_type);
    let Some((_, compression)) = known else {
        return Err(format!("layer {}: {}", layer.digest, unknown(&layer.media_type)));
    };
    let lazy = match compression {
        Compression::Gzip => estargz(layer),
        Compression::Zstd => zstd_chunked(layer),
        Compression::Unknown | Compression::None => Err("an uncompressed tar has no index".to_owned()),
    };
    let stream = Way::Stream(layer.diff_id, *compression);
    Ok(match lazy {
        Ok(way) => Support { ways: vec![way, stream], why: "its TOC is named by the manifest".to_owned() },
        Err(reason) => Support { ways: vec![stream], why: reason },
    })
}

fn estargz(layer: &ImageLayer) -> Result<Way, String> {
    let toc =
        toc_digest(layer)?.ok_or_else(|| format!("no annotation {TOC_DIGEST}, so it is not eStargz"))?;
    Ok(Way::EStargz(toc))
}

fn zstd_chunked(layer: &ImageLayer) -> Result<Way, String> {
    let annotation = |name: &str| layer.annotations.get(name);
    let position = CHUNKED.iter().find_map(|(_, position)| annotation(position)).cloned();
    if let Some(toc) = toc_digest(layer)? {
        return Ok(Way::ZstdChunked { vouched: Vouched::Json(toc), position });
    }
    let complete = CHUNKED
        .iter()
        .find_map(|(checksum, position)| Some((checksum, annotation(checksum)?, annotation(position)?)));
    let Some((name, checksum, position)) = complete else {
        return Err(format!(
            "no annotations {} and {}, and no {TOC_DIGEST}, so it is not zstd:chunked",
            CHUNKED[0].0, CHUNKED[0].1
        ));
    };
    let checksum = checksum.parse().map_err(|error| format!("annotation {name}: {error}"))?;
    Ok(Way::ZstdChunked { vouched: Vouched::Compressed(checksum), position: Some(position.clone()) })
}

fn toc_digest(layer: &ImageLayer) -> Result<Option<TocDigest>, String> {
    let digest = layer.annotations.get(TOC_DIGEST).map(|text| text.parse());
    digest.transpose().map_err(|error| format!("annotation {TOC_DIGEST}: {error}"))
}

/// Why a media type is not served. containerd knows what to do with it, or says so.
fn unknown(media_type: &str) -> String {
    let kind = if media_type.ends_with("+encrypted") {
        "is encrypted, and only containerd has the key"
    } else if media_type.contains(".nondistributable.") || media_type.contains(".foreign.") {
        "may be at places of its own that only containerd looks at"
    } else {
        "is not that of a layer that Peel knows"
    };
    format!("media type {media_type:?} {kind}")
}
