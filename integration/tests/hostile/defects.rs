//! Layers with a defect: in the TOC, while the tar around it is honest, or in the layer itself.

use peel_integration::images::{Content, Layer};
use peel_layer::DiffId;
use peel_layer::testing::{
    EStargz, EStargzWriter, TarEntry, ZstdChunkedWriter, ZstdVariant, gzip, seal, tar,
};
use serde_json::{Value, json};

/// The annotation with the digest of a TOC.
pub(crate) const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// What the honest tar has in `/f`.
pub(crate) const CONTENT: &str = "it is honest";

/// A defect and the text that names the check.
pub(crate) struct Defect {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    pub(crate) layer: fn() -> Layer,
}

const fn defect(name: &'static str, says: &'static str, layer: fn() -> Layer) -> Defect {
    Defect { name, says, layer }
}

/// Name of the layer with garbage behind its last member.
pub(crate) const GARBAGE: &str = "garbage-behind";

/// Layers that are wrong as such, and not only their index.
pub(crate) const DAMAGED: [Defect; 7] = [
    defect("cut-footer", "is cut short", || {
        let mut layer = writer().entry(&TarEntry::file("cut", b"")).finish();
        layer.blob.truncate(layer.blob.len() - 7);
        made(&layer)
    }),
    // Each has a file of its own: containerd does not ask again for a chain that it has.
    defect(GARBAGE, "something else follows", || {
        let mut layer = writer().entry(&TarEntry::file("garbage", b"")).finish();
        layer.blob.extend_from_slice(b"garbage");
        plain(&layer.blob, &layer)
    }),
    defect("wrong-checksum", "is damaged", || {
        let mut layer = writer().entry(&TarEntry::file("checksum", b"")).finish();
        // The checksum of the first member's content is behind that of its header.
        let second = layer.blob.windows(3).skip(1).position(|bytes| bytes == [0x1f, 0x8b, 8]).unwrap_or(0);
        layer.blob[second - 7] ^= 1;
        plain(&layer.blob, &layer)
    }),
    // A size that is more than what follows, and one that is less: the next header is looked for in the content.
    defect("tar-too-short", "the tar ends in the middle of a file", || sized(b"00000100000")),
    defect("tar-out-of-step", "not a tar header", || sized(b"00000000001")),
    defect("cut-zstd", "zstd data is cut short", || {
        let writer = ZstdChunkedWriter::new(ZstdVariant::Stargz, 1 << 20);
        let mut layer = writer.entry(&TarEntry::file("cut-zstd", &noise(64 << 10))).finish();
        // In the middle of the file, which is nearly all of it.
        layer.blob.truncate(layer.blob.len() / 2);
        Layer::blob(layer.blob, layer.diff_id.to_string()).media_type(ZSTD)
    }),
    // As if it were another image's: its chain would be too. A blob of its own: those of other images stay known.
    defect("lies-about-its-diff-id", "but the image's config says", || {
        Layer::blob(
            writer().entry(&TarEntry::file("lie", b"")).finish().blob,
            format!("sha256:{}", "ab".repeat(32)),
        )
    }),
];

/// A layer whose first file says that it has so many bytes.
fn sized(octal: &[u8; 11]) -> Layer {
    let name = std::str::from_utf8(octal).unwrap_or_default();
    let mut tar = tar(&[TarEntry::file(name, &noise(2000)), TarEntry::file("next", b"")]);
    tar[124..135].copy_from_slice(octal);
    seal(&mut tar);
    Layer::blob(gzip(&tar), DiffId::of(&tar).to_string())
}

/// Bytes that nothing shortens, and that are no header.
fn noise(length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = Content::Noise { seed: 51, length }.copy_to(&mut bytes);
    bytes
}

/// Without an annotation: no index is looked for.
fn plain(blob: &[u8], layer: &EStargz) -> Layer {
    Layer::blob(blob.to_vec(), layer.diff_id.to_string())
}

/// Of the index alone.
pub(crate) const DEFECTS: [Defect; 10] = [
    defect("wrong-digest", "the image's manifest says", || {
        made(&writer().finish()).annotation(TOC_DIGEST, format!("sha256:{}", "ab".repeat(32)))
    }),
    defect("leaves-root", "path leaves the root", || edited(|toc| toc[0]["name"] = json!("a/../../f"))),
    defect("link-to-nothing", "hard link to something that the layer does not have", || {
        edited(|toc| toc.push(json!({"name": "l", "type": "hardlink", "linkName": "gone"})))
    }),
    defect("hard-link-cycle", "hard link to something that the layer does not have", || {
        edited(|toc| {
            toc.push(json!({"name": "a", "type": "hardlink", "linkName": "b"}));
            toc.push(json!({"name": "b", "type": "hardlink", "linkName": "a"}));
        })
    }),
    defect("symlink-cycle", "more than 255 symlinks", || {
        edited(|toc| {
            toc.push(json!({"name": "a", "type": "symlink", "linkName": "b"}));
            toc.push(json!({"name": "b", "type": "symlink", "linkName": "a"}));
            toc.push(json!({"name": "a/under", "type": "dir"}));
        })
    }),
    defect("outside-blob", "its content ends at", || edited(|toc| toc[0]["offset"] = json!(1u64 << 40))),
    defect("overlap", "overlap", || edited(|toc| toc[1]["chunkOffset"] = json!(1))),
    defect("size-overflow", "larger than 16 TiB", || edited(|toc| toc[0]["size"] = json!(i64::MAX))),
    defect("inner-overflow", "chunks claim", || edited(|toc| toc[1]["innerOffset"] = json!(i64::MAX))),
    defect("too-many-entries", "more than 2000000 entries", || {
        let toc = format!("{{\"entries\":[{}null]}}", "{\"name\":\"d\",\"type\":\"dir\"},".repeat(2_000_001));
        made(&writer().finish_raw(toc.as_bytes()))
    }),
];

/// An honest layer above a defective one.
pub(crate) fn above() -> Layer {
    made(&EStargzWriter::new().entry(&TarEntry::file("above", b"above")).finish())
}

/// One file in three chunks.
fn writer() -> EStargzWriter {
    EStargzWriter::new().chunk_size(5).entry(&TarEntry::file("f", CONTENT.as_bytes()))
}

fn edited(edit: fn(&mut Vec<Value>)) -> Layer {
    made(&writer().finish_edited(edit))
}

/// As the manifest of a real image names it.
pub(crate) fn made(layer: &EStargz) -> Layer {
    Layer::blob(layer.blob.clone(), layer.diff_id.to_string())
        .annotation(TOC_DIGEST, layer.toc_digest.to_string())
}
