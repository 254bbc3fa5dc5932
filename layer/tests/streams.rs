//! Streams that are much larger than they look, in little memory. A process of its own, and one test, for it looks at the
//! most memory that it ever had.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::io;
use std::ops::ControlFlow;

use flate2::Crc;
use peel_erofs::Image;
use peel_layer::implied::find;
use peel_layer::seek::SeekIndex;
use peel_layer::stream::{Compression, DataSink, Decompressor, StreamError, TarIndexer, Units, write_index};
use peel_layer::testing::{EStargzWriter, IndexBytes, TarEntry, seal, tar};
use peel_layer::{
    ChunkDigest, ChunkId, DataOffset, DiffId, IndexKey, LayerDigest, LayerIndex, Limits, UnitId,
};

/// Bytes of zeros in one deflate block.
const BLOCK: u64 = 1 << 30;
/// Entries of the tar that has many: a debug build is slow.
const ENTRIES: u64 = if cfg!(debug_assertions) { 100_000 } else { 2_000_000 };

struct Nowhere;

impl DataSink for Nowhere {
    fn write(&mut self, _: DataOffset, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// The most resident memory so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Runs `body`, which may take so much more memory than there is in use now.
fn within(bytes: usize, body: impl FnOnce()) {
    // Resets the peak to what is resident now (proc(5), clear_refs 5).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    body();
    let grown = peak() - before;
    assert!(grown < bytes, "{grown} bytes more");
}

/// Streams a blob as a pipeline would.
fn index(blob: &[u8], key: IndexKey) -> Result<(LayerIndex<Vec<u8>>, IndexBytes, u64), StreamError> {
    let (mut decompressor, mut indexer) =
        (Decompressor::new(Compression::Gzip), TarIndexer::new(&Limits::default()));
    let (mut rest, mut output) = (blob, vec![0; 256 << 10]);
    loop {
        let step = decompressor.step(rest, &mut output)?;
        rest = &rest[step.consumed..];
        indexer.push(&output[..step.produced], &mut Nowhere)?;
        if rest.is_empty() && step.produced < output.len() {
            break;
        }
    }
    let units: Units = decompressor.finish()?;
    let (size, mut bytes) = (units.stream_size(), IndexBytes::default());
    write_index(indexer.finish()?, units, key, &mut bytes.files()).unwrap();
    let index = LayerIndex::parse(bytes.table.clone()).unwrap();
    let index = index.with_seek(SeekIndex::parse(bytes.seek.clone()).unwrap()).unwrap();
    Ok((index, bytes, size))
}

/// Puts bits into bytes, lowest first (RFC 1951, 3.1.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u64, count: u32) {
        self.pending |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.pending.to_le_bytes()[0]);
            self.pending >>= 8;
            self.count -= 8;
        }
    }
}

/// A gzip member: a stored block with `start`, one block of zeros, a stored block with `end`.
fn one_large_block(start: &[u8], zeros: u64, end: &[u8]) -> Vec<u8> {
    let stored = |last: u8, bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap();
        [&[last], &length.to_le_bytes()[..], &(!length).to_le_bytes(), bytes].concat()
    };
    let mut bits = Bits::default();
    // Fixed codes (RFC 1951, 3.2.6), written highest bit first: literal 0 is 00110000, length 258 is 11000101, and a
    // distance of 1 is 00000.
    bits.put(0b010, 3);
    bits.put(0b0000_1100, 8);
    for _ in 0..(zeros - 1) / 258 {
        bits.put(0b1010_0011, 8);
        bits.put(0, 5);
    }
    for _ in 0..(zeros - 1) % 258 {
        bits.put(0b0000_1100, 8);
    }
    bits.put(0, 7);
    // To the next byte, as a stored block begins: its three bits, and what is left.
    bits.put(0b001, 3);
    bits.put(0, (8 - bits.count) % 8);
    let mut crc = Crc::new();
    crc.update(start);
    let chunk = vec![0; 1 << 20];
    for at in (0..zeros).step_by(chunk.len()) {
        crc.update(&chunk[..usize::try_from(zeros - at).unwrap().min(chunk.len())]);
    }
    crc.update(end);
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let trailer = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
    [&header[..], &stored(0, start), &bits.bytes, &stored(1, end)[1..], &trailer].concat()
}

/// The header of a file of `size` bytes.
fn header(name: &str, size: u64) -> Vec<u8> {
    let mut header = tar(&[TarEntry::file(name, b"")])[..512].to_vec();
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    seal(&mut header);
    header
}

fn a_block_of_a_gigabyte() {
    let blob = one_large_block(&header("zeros", BLOCK), BLOCK, &tar(&[TarEntry::file("f", b"behind")]));
    let key = IndexKey::streamed(LayerDigest::of(&blob), DiffId::of(b""));
    within(24 << 20, || {
        let (index, _, size) = index(&blob, key).unwrap();
        assert_eq!(size, 512 + BLOCK + 512 + 512 + 1024);
        assert!(index.unit_count() <= 3, "{} units", index.unit_count());
        assert_eq!(u64::from(index.chunk_count()), (BLOCK >> 20) + 1);
        // The file behind comes back, whatever has to be decoded before it.
        let last = ChunkId(index.chunk_count() - 1);
        let units = index.chunk(last).units;
        let range = index.range_of(&units);
        let bytes = &blob[usize::try_from(range.start.0).unwrap()..usize::try_from(range.end.0).unwrap()];
        let mut found = None;
        let decoded = index.decode_run(
            UnitId(units.start)..UnitId(units.end),
            bytes,
            &|id| id == last,
            &mut |_, chunk| {
                found = Some(chunk.unwrap());
                ControlFlow::Break(())
            },
        );
        decoded.unwrap();
        assert_eq!(found.unwrap().digest(), &ChunkDigest::of(b"behind"));
    });
}

/// A layer of `count` empty files, `together` to a directory.
fn many_entries(count: u64, together: u64) {
    let path = |number: u64| format!("{}/{number}", number / together);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..count).try_for_each(|number| io::Write::write_all(&mut encoder, &header(&path(number), 0))).unwrap();
    let blob = encoder.finish().unwrap();
    let key = IndexKey::streamed(LayerDigest::of(&blob), DiffId::of(b""));
    // Some hundred bytes a node, and the files of the index.
    let memory = usize::try_from(count).unwrap() * 800 + (16 << 20);
    within(memory, || {
        let (_, bytes, _) = index(&blob, key).unwrap();
        check_tree(&bytes, count, together, &path);
    });
}

/// All files and their directories are there.
fn check_tree(bytes: &IndexBytes, count: u64, together: u64, path: &dyn Fn(u64) -> String) {
    let image = Image::open(&bytes.tree).unwrap();
    assert_eq!(image.inodes(), count + count.div_ceil(together) + 1);
    for number in (0..count).step_by(997).chain([count - 1]) {
        assert!(find(&image, path(number).as_bytes()).unwrap().is_some(), "{}", path(number));
    }
    assert!(find(&image, path(count).as_bytes()).unwrap().is_none());
    let first = find(&image, b"0").unwrap().unwrap();
    let names = image.read_dir(&first, 0).unwrap();
    let names = names.filter(|entry| !entry.as_ref().unwrap().name.starts_with(b"."));
    assert_eq!(names.count() as u64, count.min(together));
}

/// As many entries as are allowed, as stargz writes them: neither of a TOC's sizes is in the way.
fn a_long_toc() {
    let (together, limits) = (1000, Limits::default());
    let count = ENTRIES - ENTRIES / together - 2;
    let path = |number: u64| format!("{}/{number}", number / together);
    let mut text = b"{\n\t\"version\": 1,\n\t\"entries\": [".to_vec();
    for number in 0..count {
        let (digest, comma) = (ChunkDigest::of(&number.to_le_bytes()), if number > 0 { "," } else { "" });
        let (name, inner) = (path(number), number * 1024 + 512);
        io::Write::write_fmt(
            &mut text,
            format_args!(
                "{comma}\n\t\t{{\n\t\t\t\"name\": \"{name}\",\n\t\t\t\"type\": \"reg\",\n\t\t\t\"size\": 8,\n\t\t\t\
                 \"modtime\": \"2024-02-03T04:05:06Z\",\n\t\t\t\"mode\": 420,\n\t\t\t\"digest\": \"{digest}\",\n\t\t\t\
                 \"innerOffset\": {inner},\n\t\t\t\"chunkDigest\": \"{digest}\"\n\t\t}}"
            ),
        )
        .unwrap();
    }
    text.extend_from_slice(b"\n\t]\n}");
    // In front of it lies so much noise that gzip could have made all the files into that.
    let noise: Vec<u8> =
        (0..count / 16).flat_map(|number| *ChunkDigest::of(&number.to_le_bytes()).as_bytes()).collect();
    let layer = EStargzWriter::new().entry(&TarEntry::file("noise", &noise)).finish_raw(&text);
    drop(text);
    let toc = layer.location(&limits).range();
    let all = |bytes: u64| bytes / count * limits.entries;
    assert!(all(toc.end.0 - toc.start.0) < limits.toc_compressed, "{} bytes", toc.end.0 - toc.start.0);
    assert!(all(layer.toc.len() as u64) < limits.toc_json, "{} bytes", layer.toc.len());
    let memory = usize::try_from(count).unwrap() * 900 + (16 << 20);
    within(memory, || {
        let indexed = layer.index(&limits).unwrap();
        assert_eq!(u64::from(indexed.index.chunk_count()), count);
        check_tree(&indexed.bytes, count, together, &path);
    });
}

#[test]
fn streams() {
    a_block_of_a_gigabyte();
    // With their directories and the root, as many nodes as are allowed; and one directory that is as large.
    many_entries(ENTRIES - ENTRIES / 1000 - 1, 1000);
    many_entries(200_000, 200_000);
    a_long_toc();
}
