//! Writes zstd:chunked blobs, as the three writers do that made what is in registries.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::estargz::toc_entry;
use super::files::IndexBytes;
use super::tar::TarEntry;
use crate::toc::{BuiltIndex, IndexError};
use crate::zstd_chunked::{TocLocation, Vouched, build_index, footer, position};
use crate::{BlobOffset, ChunkDigest, DiffId, LayerDigest, LayerIndex, Limits, TocDigest};

/// Whose output a blob is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZstdVariant {
    /// Every file has its chunk's digest; a footer of 40 bytes.
    Stargz,
    /// containers/storage of 2022: holes, and one digest for a file of one chunk; a footer of 40 bytes.
    Storage2022,
    /// containers/storage of today: a tar-split behind the TOC, and a footer of 64 bytes.
    Storage,
}

/// A finished blob.
#[derive(Clone, Debug)]
pub struct ZstdChunked {
    /// All bytes.
    pub blob: Vec<u8>,
    /// sha256 of the TOC's JSON.
    pub toc_digest: TocDigest,
    /// sha256 of the compressed TOC.
    pub checksum: TocDigest,
    /// Where the TOC is, as the annotation has it.
    pub position: String,
    /// sha256 of the uncompressed tar.
    pub diff_id: DiffId,
    variant: ZstdVariant,
}

impl ZstdChunked {
    /// sha256 of the blob.
    #[must_use]
    pub fn layer(&self) -> LayerDigest {
        LayerDigest::of(&self.blob)
    }

    /// Where the TOC is, found in the way that its writer's readers do.
    #[must_use]
    pub fn location(&self, limits: &Limits) -> TocLocation {
        let size = self.blob.len() as u64;
        match self.variant {
            ZstdVariant::Stargz => footer(&self.blob, size, limits).unwrap(),
            _ => position(&self.position, size, limits).unwrap(),
        }
    }

    /// What the manifest vouches for.
    #[must_use]
    pub fn vouched(&self) -> Vouched {
        match self.variant {
            ZstdVariant::Stargz => Vouched::Json(self.toc_digest),
            _ => Vouched::Compressed(self.checksum),
        }
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn range(&self, range: std::ops::Range<BlobOffset>) -> &[u8] {
        let index = |offset: BlobOffset| usize::try_from(offset.0).unwrap();
        &self.blob[index(range.start)..index(range.end)]
    }

    /// Its index.
    ///
    /// # Errors
    /// As [`build_index`].
    pub fn index(
        &self,
        limits: &Limits,
    ) -> Result<(IndexBytes, LayerIndex<Vec<u8>>, BuiltIndex), IndexError> {
        let (mut bytes, location) = (IndexBytes::default(), self.location(limits));
        let toc = self.range(location.range());
        let built = build_index(self.layer(), &location, toc, self.vouched(), limits, &mut bytes.files())?;
        let index = LayerIndex::parse(bytes.table.clone()).unwrap();
        Ok((bytes, index, built))
    }
}

/// Makes a blob, entry by entry.
#[derive(Clone, Debug)]
pub struct ZstdChunkedWriter {
    variant: ZstdVariant,
    chunk_size: usize,
    blob: Vec<u8>,
    tar: Vec<u8>,
    /// Headers and padding that are not in a frame yet.
    pending: Vec<u8>,
    entries: Vec<Value>,
}

impl ZstdChunkedWriter {
    /// With chunks of at most `chunk_size` bytes.
    #[must_use]
    pub fn new(variant: ZstdVariant, chunk_size: usize) -> Self {
        let (blob, tar, pending, entries) = Default::default();
        Self { variant, chunk_size, blob, tar, pending, entries }
    }

    /// Adds an entry to tar and TOC. Chunks of zeros are holes, but for stargz.
    #[must_use]
    pub fn entry(mut self, entry: &TarEntry) -> Self {
        self.pending.extend(entry.header());
        let (content, mut toc) = (entry.content(), toc_entry(entry));
        let single = content.len() <= self.chunk_size;
        for (number, chunk) in content.chunks(self.chunk_size).enumerate() {
            self.flush();
            let offset = self.blob.len();
            self.frame(chunk);
            if number > 0 {
                toc = Map::from_iter([("name".into(), json!(entry.name)), ("type".into(), json!("chunk"))]);
                toc.insert("chunkOffset".into(), json!(number * self.chunk_size));
            }
            toc.insert("offset".into(), json!(offset));
            let stargz = self.variant == ZstdVariant::Stargz;
            if stargz || !single {
                toc.insert("chunkDigest".into(), json!(ChunkDigest::of(chunk)));
                toc.insert("chunkSize".into(), json!(chunk.len()));
            }
            if !stargz && !single && chunk.iter().all(|byte| *byte == 0) {
                toc.insert("chunkType".into(), json!("zeros"));
            }
            if !stargz && number == 0 {
                toc.insert("endOffset".into(), json!(self.blob.len()));
            }
            self.entries.push(Value::Object(std::mem::take(&mut toc)));
        }
        if content.is_empty() {
            self.entries.push(Value::Object(toc));
        }
        self.pending.resize(content.len().next_multiple_of(512) - content.len(), 0);
        self
    }

    /// Adds entries.
    #[must_use]
    pub fn entries<'a>(self, entries: impl IntoIterator<Item = &'a TarEntry>) -> Self {
        entries.into_iter().fold(self, Self::entry)
    }

    /// The blob with its own TOC.
    #[must_use]
    pub fn finish(self) -> ZstdChunked {
        let toc = serde_json::to_vec(&json!({ "version": 1, "entries": self.entries })).unwrap();
        self.finish_raw(&toc)
    }

    /// The blob with this text for a TOC.
    #[must_use]
    pub fn finish_raw(mut self, toc: &[u8]) -> ZstdChunked {
        self.pending.resize(self.pending.len() + 1024, 0);
        self.flush();
        let compressed = zstd::stream::encode_all(toc, 3).unwrap();
        let at = self.skippable(&compressed);
        let mut numbers = vec![at, compressed.len(), toc.len(), 1];
        let (magic, position) = (b"GnUlInUx", format!("{at}:{}:{}:1", compressed.len(), toc.len()));
        let mut footer = Vec::new();
        if self.variant == ZstdVariant::Storage {
            let split = zstd::stream::encode_all(&b"not read"[..], 3).unwrap();
            numbers.extend([self.skippable(&split), split.len(), 8]);
        }
        for number in numbers {
            footer.extend((number as u64).to_le_bytes());
        }
        footer.extend(if self.variant == ZstdVariant::Storage { b"GNUlInUx" } else { magic });
        self.skippable(&footer);
        ZstdChunked {
            toc_digest: TocDigest::of(toc),
            checksum: TocDigest::from_bytes(Sha256::digest(&compressed).into()),
            position,
            diff_id: DiffId::of(&self.tar),
            blob: self.blob,
            variant: self.variant,
        }
    }

    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            self.frame(&pending);
        }
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.tar.extend_from_slice(bytes);
        self.blob.extend(zstd::stream::encode_all(bytes, 3).unwrap());
    }

    /// Adds a skippable frame and says where its content begins.
    fn skippable(&mut self, content: &[u8]) -> usize {
        self.blob.extend([0x50, 0x2a, 0x4d, 0x18]);
        self.blob.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        let at = self.blob.len();
        self.blob.extend_from_slice(content);
        at
    }
}
