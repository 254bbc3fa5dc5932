//! The ways in which a layer can be made readable, and how they are stored with its snapshot.

use peel_layer::{
    DiffId, Format, IndexKey, LayerDigest, TocDigest, soci::ZtocDescriptor, stream::Compression,
    zstd_chunked::Vouched,
};
use peel_proto::peel::metadata::v1 as stored;

use super::SociAt;

/// One way of making a layer readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// eStargz: a TOC whose JSON has this digest is in the blob.
    EStargz(TocDigest),
    /// zstd:chunked: a TOC is in the blob.
    ZstdChunked {
        /// What the manifest says of the TOC.
        vouched: Vouched,
        /// Where it is, as the manifest's annotation has it; else the blob's footer says so.
        position: Option<String>,
    },
    /// SOCI: an index beside the image has a ztoc of the layer.
    Soci {
        /// Where the index is.
        at: SociAt,
        /// The layer's ztoc, once the index was read; not stored.
        ztoc: Option<ZtocDescriptor>,
    },
    /// The layer is streamed once from end to end, and indexed on the way.
    Stream(DiffId, Compression),
}

/// Kinds in the metadata (docs/metadata-format.md).
const ESTARGZ: &str = "estargz";
const ZSTD_CHUNKED: &str = "zstd:chunked";
/// zstd:chunked whose manifest has the digest of the compressed TOC.
const ZSTD_CHUNKED_COMPRESSED: &str = "zstd:chunked compressed";

/// SOCI, with the digest of the index.
const SOCI: &str = "soci";
/// SOCI, with an index that refers to the image.
const SOCI_REFERRER: &str = "soci referrer";

/// All that a media type can announce.
const STREAMED: [Compression; 4] =
    [Compression::Gzip, Compression::Zstd, Compression::Unknown, Compression::None];

const fn stream_kind(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "stream gzip",
        Compression::Zstd => "stream zstd",
        Compression::Unknown => "stream",
        Compression::None => "stream tar",
    }
}

impl Way {
    /// The index that it leads to, of the blob `layer`, as far as that is known.
    #[must_use]
    pub fn key(&self, layer: LayerDigest) -> Option<IndexKey> {
        Some(match self {
            Self::EStargz(toc) => IndexKey { layer, described_by: *toc },
            Self::ZstdChunked { vouched, .. } => IndexKey { layer, described_by: vouched.digest() },
            Self::Soci { ztoc, .. } => IndexKey { layer, described_by: (*ztoc)?.digest },
            Self::Stream(diff_id, _) => IndexKey::streamed(layer, *diff_id),
        })
    }

    /// The layer's format, as far as it is known before the blob was seen.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::EStargz(_) => Format::EStargz,
            Self::ZstdChunked { .. } => Format::ZstdChunked,
            Self::Soci { .. } => Format::Soci,
            Self::Stream(_, Compression::Gzip) => Format::Gzip,
            Self::Stream(_, Compression::Zstd) => Format::Zstd,
            Self::Stream(_, Compression::Unknown | Compression::None) => Format::Tar,
        }
    }

    /// The whole layer is read.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(..))
    }

    /// Why a layer is served in this way, where the image itself does not say so.
    #[must_use]
    pub fn why(&self) -> Option<&'static str> {
        match self {
            Self::Soci { at: SociAt::Referrer, .. } => Some("a SOCI index refers to the image"),
            _ => None,
        }
    }

    /// As stored.
    #[must_use]
    pub fn to_stored(&self) -> stored::Way {
        let (kind, description, position) = match self {
            Self::EStargz(toc) => (ESTARGZ, toc.to_string(), None),
            Self::ZstdChunked { vouched: Vouched::Json(toc), position } => {
                (ZSTD_CHUNKED, toc.to_string(), position.clone())
            }
            Self::ZstdChunked { vouched: Vouched::Compressed(toc), position } => {
                (ZSTD_CHUNKED_COMPRESSED, toc.to_string(), position.clone())
            }
            Self::Soci { at: SociAt::Annotation(index), .. } => (SOCI, index.to_string(), None),
            Self::Soci { at: SociAt::Referrer, .. } => (SOCI_REFERRER, String::new(), None),
            Self::Stream(diff_id, compression) => (stream_kind(*compression), diff_id.to_string(), None),
        };
        stored::Way { kind: kind.to_owned(), description, position: position.unwrap_or_default() }
    }

    /// From what is stored; nothing for what this version does not know.
    #[must_use]
    pub fn from_stored(way: &stored::Way) -> Option<Self> {
        let position = (!way.position.is_empty()).then(|| way.position.clone());
        if let Some(compression) = STREAMED.into_iter().find(|it| stream_kind(*it) == way.kind) {
            return Some(Self::Stream(way.description.parse().ok()?, compression));
        }
        let soci = |at| Some(Self::Soci { at, ztoc: None });
        match way.kind.as_str() {
            SOCI => return soci(SociAt::Annotation(way.description.parse().ok()?)),
            SOCI_REFERRER => return soci(SociAt::Referrer),
            _ => {}
        }
        let toc = way.description.parse().ok()?;
        match way.kind.as_str() {
            ESTARGZ => Some(Self::EStargz(toc)),
            ZSTD_CHUNKED => Some(Self::ZstdChunked { vouched: Vouched::Json(toc), position }),
            ZSTD_CHUNKED_COMPRESSED => {
                Some(Self::ZstdChunked { vouched: Vouched::Compressed(toc), position })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use peel_layer::ManifestDigest;

    use super::*;

    #[test]
    fn ways_are_stored_whole() {
        let (layer, toc) = (LayerDigest::of(b"layer"), TocDigest::of(b"toc"));
        let position = Some("8:100:200:1".to_owned());
        for way in [
            Way::EStargz(toc),
            Way::ZstdChunked { vouched: Vouched::Json(toc), position: None },
            Way::ZstdChunked { vouched: Vouched::Compressed(toc), position },
        ] {
            assert_eq!(Way::from_stored(&way.to_stored()), Some(way.clone()));
            assert_eq!(way.key(layer), Some(IndexKey { layer, described_by: toc }));
        }
        let index = ManifestDigest::of(b"SOCI index");
        for at in [SociAt::Annotation(index), SociAt::Referrer] {
            let way = Way::Soci { at, ztoc: None };
            assert_eq!(Way::from_stored(&way.to_stored()), Some(way.clone()));
            assert_eq!(way.key(layer), None);
            // What is learned of an index is not stored.
            let found = Way::Soci { at, ztoc: Some(ZtocDescriptor { digest: toc, size: 1 }) };
            assert_eq!(found.key(layer), Some(IndexKey { layer, described_by: toc }));
            assert_eq!(found.to_stored(), way.to_stored());
        }
        let diff_id = DiffId::of(b"tar");
        for way in STREAMED.map(|compression| Way::Stream(diff_id, compression)) {
            assert_eq!(Way::from_stored(&way.to_stored()), Some(way.clone()));
            assert_eq!(way.key(layer), Some(IndexKey::streamed(layer, diff_id)));
        }
        assert_eq!(Way::from_stored(&stored::Way { kind: "later".into(), ..stored::Way::default() }), None);
    }
}
