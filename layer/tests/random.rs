//! Random layers: streamed in any compression and cut anywhere they become what their eStargz form becomes, for that is
//! indexed by other code from other bytes.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use peel_layer::stream::Compression;
use peel_layer::testing::{EStargzWriter, File, TarEntry, gzip, stream, tar};
use peel_layer::{ChunkId, DataOffset, Limits};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Layers: some seconds in a debug build.
const ROUNDS: u64 = 150;

/// Few names, so that entries meet: links, whiteouts, replacements, parents that are files.
fn entry(random: &mut StdRng) -> TarEntry {
    let long = "long".repeat(60);
    let names =
        ["a", "b", "d/", "./d/e", "d/e/f", "/d/g", ".wh.a", "d/.wh..wh..opq", "link", "é", long.as_str()];
    let name = *names.choose(random).unwrap();
    let target = *["a", "d/e", "/d", "link", "gone"].choose(random).unwrap();
    let entry = match random.random_range(0..8) {
        0 => TarEntry::directory(name),
        1 => TarEntry::symlink(name, target),
        2 => TarEntry::hard_link(name, target),
        3 => TarEntry::new(name, File::Fifo),
        4 => TarEntry::new(name, File::CharDevice(1, random.random_range(0..300))),
        _ => {
            let sizes = [0, 1, 511, 512, 513, 4096, 70_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1];
            let seed: u8 = random.random();
            let content: Vec<u8> =
                (0..*sizes.choose(random).unwrap()).map(|at: u32| at.to_le_bytes()[1] ^ seed).collect();
            TarEntry::file(name, &content)
        }
    };
    let mode = *[0o644, 0o755, 0o4711, 0o1777].choose(random).unwrap();
    let entry = entry
        .mode(mode)
        .owner(random.random_range(0..70_000), random.random_range(0..2_000_000))
        .mtime(random.random());
    if random.random_bool(0.1) { entry.xattr("user.name", b"value") } else { entry }
}

#[test]
fn streamed_or_indexed() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let entries: Vec<_> = (0..random.random_range(0..8)).map(|_| entry(&mut random)).collect();
        let indexed =
            EStargzWriter::new().chunk_size(1 << 20).entries(&entries).finish().index(&Limits::default());
        let bytes = tar(&entries);
        let (first, second) = bytes.split_at(random.random_range(0..=bytes.len()));
        let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
        let blob = match seed % 3 {
            0 => bytes.clone(),
            1 => [gzip(first), gzip(second)].concat(),
            _ => [zstd(first), zstd(second)].concat(),
        };
        let max = *[2000, 100_000, 3 << 20].choose(&mut random).unwrap();
        let streamed =
            stream(&blob, Compression::Unknown, &Limits::default(), &mut || random.random_range(0..max));
        match (indexed, streamed) {
            (Ok(indexed), Ok(streamed)) => {
                good += 1;
                assert!(indexed.bytes.tree == streamed.bytes.tree, "{seed}");
                assert_eq!(indexed.index.chunk_count(), streamed.index.chunk_count());
                for id in (0..streamed.index.chunk_count()).map(ChunkId) {
                    let (chunk, other) = (streamed.index.chunk(id), indexed.index.chunk(id));
                    assert_eq!((chunk.data, chunk.digest), (other.data, other.digest), "{seed}");
                }
                assert!(DataOffset(streamed.data.len() as u64) <= streamed.index.data_size());
                streamed.check_decoding(&blob);
            }
            (indexed, streamed) => {
                bad += 1;
                assert!(indexed.is_err() && streamed.is_err(), "{seed}: {:?}", entries);
            }
        }
    }
    assert!(good > ROUNDS / 4 && bad > ROUNDS / 10, "{good} good, {bad} bad");
}
