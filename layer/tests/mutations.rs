//! Replays `tests/corpus` through the fuzz functions, then the same bytes with random changes: the same ones in every
//! run. What a fuzzer finds elsewhere becomes a file of the corpus.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::{fs, path::PathBuf};

use peel_layer::seek::SeekIndex;
use peel_layer::testing::{EStargzWriter, TarEntry, ZstdChunkedWriter, ZstdVariant, fuzz};
use peel_layer::{LayerIndex, Limits, UnitId};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Changed inputs per parser: some seconds together in a debug build.
const ROUNDS: usize = 3000;

fn corpus(parser: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(parser);
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn run(parser: &str, more: Vec<Vec<u8>>, target: fn(&[u8])) {
    let mut seeds = corpus(parser);
    seeds.extend(more);
    run_seeds(seeds, target);
}

fn run_seeds(seeds: Vec<Vec<u8>>, target: fn(&[u8])) {
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| target(seed));
    let mut random = StdRng::seed_from_u64(20_260_801);
    for _ in 0..ROUNDS {
        let mut bytes = seeds.choose(&mut random).unwrap().clone();
        for _ in 0..random.random_range(1..4) {
            change(&mut bytes, &mut random);
        }
        target(&bytes);
    }
}

fn change(bytes: &mut Vec<u8>, random: &mut StdRng) {
    /// Where parsers tend to be wrong.
    const NUMBERS: [&str; 6] = ["0", "-1", "4294967296", "9223372036854775807", "1e99", "null"];
    let at = random.random_range(0..=bytes.len());
    let end = (at + random.random_range(0..20)).min(bytes.len());
    match random.random_range(0..7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].choose(random).unwrap(),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            let to = random.random_range(0..=bytes.len());
            drop(bytes.splice(to..to, copy));
        }
        4 => bytes.truncate(at),
        5 if at + 8 <= bytes.len() => {
            bytes[at..at + 8].copy_from_slice(&random.random::<u64>().to_le_bytes())
        }
        _ => {
            // A number of a text becomes another.
            let digits = bytes[at..].iter().position(u8::is_ascii_digit).map(|start| at + start);
            let Some(start) = digits else { return };
            let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            drop(bytes.splice(start..start + length, NUMBERS.choose(random).unwrap().bytes()));
        }
    }
}

#[test]
fn seek_index() {
    run("seek_index", Vec::new(), fuzz::seek_index);
}

/// Written by hand from docs/seek-index.md, not by the writer.
#[test]
fn seek_index_of_the_documentation() {
    for bytes in corpus("seek_index") {
        SeekIndex::parse(bytes).unwrap();
    }
}

#[test]
fn tar() {
    run("tar", Vec::new(), fuzz::tar);
}

#[test]
fn blob() {
    run("blob", Vec::new(), fuzz::blob);
}

#[test]
fn end_of_blob() {
    run("end_of_blob", Vec::new(), fuzz::end_of_blob);
}

#[test]
fn toc() {
    run("toc", Vec::new(), fuzz::toc);
}

#[test]
fn toc_member() {
    run("toc_member", Vec::new(), fuzz::toc_member);
}

/// Tables written by hand from docs/index-format.md, not by the writer.
#[test]
fn table_of_the_documentation() {
    for table in corpus("table") {
        LayerIndex::parse(table).unwrap();
    }
}

#[test]
fn table() {
    let layer = EStargzWriter::new()
        .chunk_size(300)
        .pack(1500)
        .entries(&[TarEntry::file("dir/a", &[7; 2000]), TarEntry::file("b", &[8; 10])])
        .finish();
    run("table", vec![layer.index(&Limits::default()).unwrap().bytes.table], fuzz::table);
}

#[test]
fn unit() {
    let layer = EStargzWriter::new().odd_headers().entry(&TarEntry::file("f", &[1; 5000])).finish();
    let index = layer.index(&Limits::default()).unwrap().index;
    run("unit", vec![layer.range(index.unit(UnitId(0))).to_vec()], fuzz::unit);
}

/// Blobs of all writers; the corpus of eStargz' TOCs serves here too.
#[test]
fn zstd_chunked() {
    let content: Vec<u8> = [vec![0; 400], (0..=255).cycle().take(800).collect()].concat();
    let write = |variant| ZstdChunkedWriter::new(variant, 400).entry(&TarEntry::file("f", &content)).finish();
    let all = [ZstdVariant::Stargz, ZstdVariant::Storage2022, ZstdVariant::Storage].map(write);
    let (limits, mut ends, mut frames) = (Limits::default(), Vec::new(), Vec::new());
    for layer in &all {
        ends.extend([layer.blob[layer.blob.len() - 64..].to_vec(), layer.position.clone().into_bytes()]);
        frames.push(layer.range(layer.location(&limits).range()).to_vec());
    }
    let tocs: Vec<_> = frames.iter().map(|frame| zstd::stream::decode_all(&frame[..]).unwrap()).collect();
    run("zstd_location", ends, fuzz::zstd_location);
    run("zstd_toc_frame", frames, fuzz::zstd_toc_frame);
    run("toc", tocs.clone(), fuzz::zstd_toc);
    run("zstd_toc", tocs, fuzz::zstd_toc);
    let index = all[0].index(&limits).unwrap().1;
    run("zstd_unit", vec![all[0].range(index.unit(UnitId(0))).to_vec()], fuzz::zstd_unit);
}

#[test]
fn ztoc() {
    run("ztoc", vec![fuzz::ztoc_seed()], fuzz::ztoc);
}

#[test]
fn checkpoints() {
    run("checkpoints", Vec::new(), fuzz::checkpoints);
}
