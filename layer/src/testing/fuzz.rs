//! What a fuzzer calls, one function a parser: any bytes, no panic, bounded memory and time. `tests/mutations.rs` replays
//! `tests/corpus` through them and mutates it; with coverage it is done by `make fuzz` (`layer/fuzz`).

mod stream;

use std::{ops::ControlFlow, sync::OnceLock};

use peel_erofs::{Image, load_tree};
use sha2::{Digest as _, Sha256};

pub use stream::{blob, seek_index, tar};

use super::{EStargzWriter, IndexBytes, SociLayer, TarEntry, ZstdChunkedWriter, ZstdVariant};
use crate::estargz::{build_index, footer};
use crate::seek::SeekIndex;
use crate::zstd_chunked::{self, Vouched};
use crate::{BlobOffset, ChunkId, DataOffset, LayerDigest, LayerIndex, Limits, TocDigest, UnitId};

/// Small enough for thousands of runs a second.
fn limits() -> Limits {
    Limits { entries: 10_000, toc_json: 1 << 20, lookups: 1_000_000, ..Limits::default() }
}

/// The end of a blob.
pub fn end_of_blob(bytes: &[u8]) {
    for size in [0, bytes.len() as u64, 0x2000, u64::MAX] {
        if let Ok(found) = footer(bytes, size, &limits()) {
            let range = found.range();
            assert!(range.start < range.end && range.end.0 <= size);
        }
    }
}

/// A TOC's JSON, in a good layer that holds a few bytes. What is accepted must be consistent.
pub fn toc(json: &[u8]) {
    let content: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let layer = EStargzWriter::new().chunk_size(400).entry(&TarEntry::file("f", &content)).finish_raw(json);
    let Ok(indexed) = layer.index(&limits()) else { return };
    let image = Image::open(&indexed.bytes.tree).unwrap();
    let tree = load_tree(&image).unwrap();
    assert!(tree.node_count() as u64 <= limits().entries + 1);
    for path in indexed.index.implied() {
        assert!(crate::implied::find(&image, path).unwrap().is_some());
    }
    use_index(&indexed.index, &layer.blob);
}

/// A TOC's gzip member.
pub fn toc_member(member: &[u8]) {
    let start = 100;
    let size = start + member.len() as u64 + 51;
    let extra = format!("SG\x16\0{start:016x}STARGZ");
    let tail = [&b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0"[..], extra.as_bytes(), &[0; 13]].concat();
    let Ok(location) = footer(&tail, size, &limits()) else { return };
    let (layer, expected) = (LayerDigest::of(b"blob"), TocDigest::of(b"toc"));
    // Parsed in full, though its digest is never right.
    let built =
        build_index(layer, &location, member, expected, &limits(), &mut IndexBytes::default().files());
    assert!(built.is_err());
}

/// The end of a zstd:chunked blob, and the annotation that says what it says.
pub fn zstd_location(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for size in [0, bytes.len() as u64, 0x2000, u64::MAX] {
        let found =
            [zstd_chunked::footer(bytes, size, &limits()), zstd_chunked::position(&text, size, &limits())];
        for location in found.into_iter().flatten() {
            let range = location.range();
            assert!(range.start < range.end && range.end.0 <= size);
        }
    }
}

/// A zstd:chunked TOC's JSON, in a good layer that holds a few bytes and a hole.
pub fn zstd_toc(json: &[u8]) {
    let mut content: Vec<u8> = (0..=255).cycle().take(1200).collect();
    content[400..800].fill(0);
    let layer = ZstdChunkedWriter::new(ZstdVariant::Storage, 400).entry(&TarEntry::file("f", &content));
    let layer = layer.finish_raw(json);
    if let Ok((_, index, _)) = layer.index(&limits()) {
        use_index(&index, &layer.blob);
    }
}

/// A compressed TOC that the manifest vouches for, and one that it does not.
pub fn zstd_toc_frame(bytes: &[u8]) {
    let size = bytes.len() as u64;
    for json_size in [0, size, 5000, limits().toc_json] {
        let position = format!("100:{size}:{json_size}:1");
        let Ok(location) = zstd_chunked::position(&position, size + 200, &limits()) else { return };
        let layer = LayerDigest::of(b"blob");
        let checksum = TocDigest::from_bytes(Sha256::digest(bytes).into());
        for vouched in [Vouched::Compressed(checksum), Vouched::Json(TocDigest::of(b"another"))] {
            let mut files = IndexBytes::default();
            let built =
                zstd_chunked::build_index(layer, &location, bytes, vouched, &limits(), &mut files.files());
            assert!(built.is_err() || matches!(vouched, Vouched::Compressed(_)));
        }
    }
}

/// Bytes of a zstd:chunked blob where a chunk should be.
pub fn zstd_unit(bytes: &[u8]) {
    let content = [1; 5000];
    let layer = ZstdChunkedWriter::new(ZstdVariant::Stargz, 1000).entry(&TarEntry::file("f", &content));
    let index = layer.finish().index(&limits()).unwrap().1;
    for unit in (0..index.unit_count()).map(UnitId) {
        let _ = index.decode_run(unit..UnitId(unit.0 + 1), bytes, &|_| true, &mut |_, chunk| {
            if let Ok(verified) = chunk {
                assert_eq!(verified.bytes(), &content[..verified.bytes().len()]);
            }
            ControlFlow::Continue(())
        });
    }
}

/// A chunk table, as it is and with its checksum made good.
pub fn table(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let blob = EStargzWriter::new().entry(&TarEntry::file("f", &[7; 5000])).finish();
    for _ in 0..2 {
        if let Ok(index) = LayerIndex::parse(&bytes[..]) {
            use_index(&index, &blob.blob);
        }
        if let Some((body, checksum)) = bytes.split_last_chunk_mut::<32>() {
            *checksum = Sha256::digest(body).into();
        }
    }
}

/// Bytes of a blob where a chunk should be.
pub fn unit(bytes: &[u8]) {
    let content = [1; 5000];
    let layer =
        EStargzWriter::new().chunk_size(1000).pack(3000).entry(&TarEntry::file("f", &content)).finish();
    let index = layer.index(&limits()).unwrap().index;
    for unit in (0..index.unit_count()).map(UnitId) {
        let next = UnitId(unit.0 + 1);
        let _ = index.decode_run(unit..next, bytes, &|_| true, &mut |_, chunk| {
            if let Ok(verified) = chunk {
                assert_eq!(verified.bytes(), &content[..verified.bytes().len()]);
            }
            ControlFlow::Continue(())
        });
    }
}

/// Calls everything, with the blob that belongs to the index or another.
fn use_index<B: AsRef<[u8]>>(index: &LayerIndex<B>, blob: &[u8]) {
    let bytes_of = |range: std::ops::Range<BlobOffset>| {
        let at = |offset: BlobOffset| usize::try_from(offset.0).unwrap_or(usize::MAX);
        blob.get(at(range.start)..at(range.end)).unwrap_or_default()
    };
    let mut chunks = 0;
    // Where the units are in a seek index, which is not at hand here, the table alone may claim any number of them.
    let looked_at = index.unit_count().min(100_000);
    for unit in (0..looked_at).map(UnitId) {
        if !index.format().has_seek_index() {
            assert!(index.unit(unit).start < index.unit(unit).end);
        }
        chunks += u32::try_from(index.chunks_within(unit.0..unit.0 + 1).len()).unwrap();
        let bytes = bytes_of(index.unit(unit));
        let next = UnitId(unit.0 + 1);
        let _ = index.decode_run(unit..next, bytes, &|_| true, &mut |_, _| ControlFlow::Continue(()));
    }
    assert!(chunks <= index.chunk_count());
    let all = UnitId(0)..UnitId(index.unit_count());
    assert_eq!(index.chunks_within(0..all.end.0).len(), index.chunk_count() as usize);
    let bytes = bytes_of(index.range_of(&(0..all.end.0)));
    let _ = index.decode_run(all, bytes, &|_| true, &mut |_, _| ControlFlow::Continue(()));
    // Ids of no chunk too.
    for id in (0..index.chunk_count() + 2).map(ChunkId) {
        let chunk = index.chunk(id);
        if id.0 < index.chunk_count() {
            assert!(chunk.data.end <= index.data_size());
            assert!(index.chunks_in(chunk.data.clone()).contains(&id.0));
        }
        let _ = chunk.digest.map(|digest| index.find(&digest));
        let units = UnitId(chunk.units.start)..UnitId(chunk.units.end);
        let _ = index.decode_run(units, bytes_of(index.blob_range(id)), &|other| other == id, &mut |_, _| {
            ControlFlow::Continue(())
        });
    }
    assert_eq!(index.chunks_in(DataOffset(0)..DataOffset(u64::MAX)).len(), index.chunk_count() as usize);
    let digests = if index.format().has_chunk_digests() { index.chunk_count() } else { 0 };
    assert_eq!(index.by_digest().count(), digests as usize);
    let _ = (index.key().to_string(), index.implied().count(), index.landmark(), index.blob_size());
}

/// A SOCI layer in a few spans.
fn soci_sample() -> &'static SociLayer {
    static SAMPLE: OnceLock<SociLayer> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let content: Vec<u8> =
            (0..40_000_u32).flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let entries = [TarEntry::directory("d"), TarEntry::file("d/f", &content), TarEntry::file("g", b"g")];
        let blob = super::gzip(&super::tar(&entries));
        SociLayer::gzip(blob, &entries, 40_000)
    })
}

/// The ztoc of [`ztoc`]'s layer: where changes begin.
#[must_use]
pub fn ztoc_seed() -> Vec<u8> {
    soci_sample().ztoc.to_bytes()
}

/// A ztoc, of a good layer. What is accepted must be consistent and end, whatever it says.
pub fn ztoc(bytes: &[u8]) {
    let layer = soci_sample();
    let (mut files, size) = (super::IndexBytes::default(), layer.blob.len() as u64);
    let (digest, toc) = (LayerDigest::of(&layer.blob), TocDigest::of(bytes));
    if crate::soci::build_index(digest, size, bytes, toc, &limits(), &mut files.files()).is_err() {
        assert!(files.table.is_empty() || files.seek.is_empty());
        return;
    }
    let image = Image::open(&files.tree).unwrap();
    assert!(load_tree(&image).unwrap().node_count() as u64 <= limits().entries + 1);
    let seek = SeekIndex::parse(&files.seek[..]).unwrap();
    let index = LayerIndex::parse(&files.table[..]).unwrap().with_seek(seek).unwrap();
    for id in (0..index.chunk_count()).map(ChunkId) {
        let range = index.blob_range(id);
        let at = |offset: BlobOffset| usize::try_from(offset.0).unwrap();
        let _ = super::decode_chunk(&index, id, &layer.blob[at(range.start)..at(range.end)]);
    }
}

/// The checkpoints of a ztoc that is good otherwise, with as many spans as they say.
pub fn checkpoints(bytes: &[u8]) {
    let mut changed = soci_sample().ztoc.clone();
    let have = bytes.first_chunk().map_or(0, |have| i32::from_le_bytes(*have)).clamp(0, 64);
    changed.last_span = have - 1;
    let digest = changed.span_digests[0].clone();
    changed.span_digests.resize(usize::try_from(have).unwrap(), digest);
    changed.checkpoints = bytes.to_vec();
    ztoc(&changed.to_bytes());
}
