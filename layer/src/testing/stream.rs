//! Layers streamed in memory.

use std::{
    io::{self, Write as _},
    ops::{ControlFlow, Range},
};

use super::{IndexBytes, decode_chunk};
use crate::seek::SeekIndex;
use crate::stream::{Compression, DataSink, Decompressor, StreamError, TarIndexer, write_index};
use crate::{BlobOffset, ChunkId, DataOffset, DiffId, IndexKey, LayerDigest, LayerIndex, Limits, UnitId};

/// What streaming a blob gave.
#[derive(Clone, Debug)]
pub struct Streamed {
    /// Bytes of the index.
    pub bytes: IndexBytes,
    /// The same, opened.
    pub index: LayerIndex<Vec<u8>>,
    /// The data file, as far as it was written.
    pub data: Vec<u8>,
    /// sha256 of the tar.
    pub diff_id: DiffId,
}

struct Data(Vec<u8>);

impl DataSink for Data {
    fn write(&mut self, at: DataOffset, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(at.0).unwrap();
        assert!(at >= self.0.len(), "places rise");
        self.0.resize(at, 0);
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// One gzip member.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Streams a blob whole.
///
/// # Errors
/// As streaming.
pub fn stream_whole(blob: &[u8]) -> Result<Streamed, StreamError> {
    stream(blob, Compression::Unknown, &Limits::default(), &mut || usize::MAX)
}

/// Streams a blob in pieces: `cut` says how long the next one may be, of the input and of the output in turn; 0 too.
///
/// # Errors
/// As streaming.
pub fn stream(
    blob: &[u8],
    announced: Compression,
    limits: &Limits,
    cut: &mut dyn FnMut() -> usize,
) -> Result<Streamed, StreamError> {
    let (mut decompressor, mut indexer) = (Decompressor::new(announced), TarIndexer::new(limits));
    let (mut rest, mut tar, mut data) = (blob, Vec::new(), Data(Vec::new()));
    let mut output = vec![0; 1 << 20];
    loop {
        let input = &rest[..rest.len().min(cut())];
        let room = output.len().min(cut());
        let step = decompressor.step(input, &mut output[..room])?;
        indexer.push(&output[..step.produced], &mut data)?;
        tar.extend_from_slice(&output[..step.produced]);
        rest = &rest[step.consumed..];
        if rest.is_empty() && step.produced < room {
            break;
        }
    }
    let key = IndexKey::streamed(LayerDigest::of(blob), DiffId::of(&tar));
    let mut bytes = IndexBytes::default();
    let (units, indexed) = (decompressor.finish()?, indexer.finish()?);
    assert_eq!((units.blob_size(), units.stream_size()), (blob.len() as u64, tar.len() as u64));
    write_index(indexed, units, key, &mut bytes.files()).unwrap();
    let mut index = LayerIndex::parse(bytes.table.clone()).unwrap();
    if index.format().has_seek_index() {
        index = index.with_seek(SeekIndex::parse(bytes.seek.clone()).unwrap()).unwrap();
    }
    Ok(Streamed { bytes, index, data: data.0, diff_id: DiffId::of(&tar) })
}

impl Streamed {
    /// Decodes every chunk from its own units, and from runs of units, and compares with what passed when the blob was
    /// streamed. Panics if anything differs.
    pub fn check_decoding(&self, blob: &[u8]) {
        let bytes = |range: Range<BlobOffset>| {
            &blob[usize::try_from(range.start.0).unwrap()..usize::try_from(range.end.0).unwrap()]
        };
        let passed = |id| {
            let data = self.index.chunk(id).data;
            &self.data[usize::try_from(data.start.0).unwrap()..usize::try_from(data.end.0).unwrap()]
        };
        for id in (0..self.index.chunk_count()).map(ChunkId) {
            let alone = decode_chunk(&self.index, id, bytes(self.index.blob_range(id))).unwrap().unwrap();
            assert!(alone.bytes() == passed(id), "{id}");
        }
        let count = self.index.unit_count();
        for length in [1, 2, count] {
            for start in 0..=count.saturating_sub(length) {
                let units = start..(start + length).min(count);
                let mut expected = self.index.chunks_within(units.clone());
                let run = bytes(self.index.range_of(&units));
                let units = UnitId(units.start)..UnitId(units.end);
                let decoded = self.index.decode_run(units, run, &|_| true, &mut |id, chunk| {
                    assert_eq!(expected.next(), Some(id.0));
                    assert!(chunk.unwrap().bytes() == passed(id), "{id}");
                    ControlFlow::Continue(())
                });
                decoded.unwrap();
                assert_eq!(expected.next(), None);
            }
        }
    }
}
