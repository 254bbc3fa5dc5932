//! Bounded fuzzing on the stable toolchain: valid images with fields and bytes changed, checksum repaired or not.

use peel_erofs::Image;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    common::{Gardener, Outcome},
    walk::{repair, walk},
};

/// Values at which checks are usually wrong, with the width of the fields that they are for.
const EDGES: [(u64, usize); 11] = [
    (0, 1),
    (1, 1),
    (0x7f, 1),
    (0x80, 1),
    (0xff, 1),
    (0x1000, 2),
    (0xffff, 2),
    (0x7fff_ffff, 4),
    (0xffff_ffff, 4),
    (i64::MAX.cast_unsigned(), 8),
    (u64::MAX, 8),
];

/// Walks `bytes` with the first block as it is, and repaired.
fn walk_both(bytes: &mut [u8]) {
    let _ = walk(bytes);
    repair(bytes);
    let _ = walk(bytes);
}

fn small_image(seed: u64, nodes: usize) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let bytes = Gardener::new(seed).grow(nodes, 1 << 20)?.image()?;
    let work = walk(&bytes)?;
    assert!(work.inodes > nodes / 2 && work.entries > work.inodes && work.xattrs > 0, "{work:?}");
    Ok(bytes)
}

#[test]
fn every_field_takes_every_edge() -> Outcome {
    let original = small_image(1, 15)?;
    for (edge, width) in EDGES {
        for at in (1024..original.len()).step_by(width) {
            let mut bytes = original.clone();
            let field = &mut bytes[at..at + width];
            let changed = &edge.to_le_bytes()[..width];
            if *field != *changed {
                field.copy_from_slice(changed);
                repair(&mut bytes);
                let _ = walk(&bytes);
            }
        }
    }
    Ok(())
}

#[test]
fn random_bytes_change() -> Outcome {
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..40 {
        let original = small_image(round % 8, 40)?;
        for _ in 0..300 {
            let mut bytes = original.clone();
            for _ in 0..random.random_range(1..=12) {
                // The head of the image is the densest part.
                let end = if random.random() { bytes.len() } else { 4096 };
                bytes[random.random_range(1024..end)] = random.random();
            }
            walk_both(&mut bytes);
        }
    }
    Ok(())
}

/// Parts of an image copied over others: well-formed records in wrong places, such as overlapping directories.
#[test]
fn records_move() -> Outcome {
    let mut random = StdRng::seed_from_u64(8);
    for round in 0..20 {
        let original = small_image(round, 40)?;
        for _ in 0..300 {
            let mut bytes = original.clone();
            for _ in 0..random.random_range(1..=4) {
                let length = [4, 12, 32, 64, 128][random.random_range(0..5)];
                let from = random.random_range(1280..bytes.len() - length) & !3;
                let to = random.random_range(1280..bytes.len() - length) & !3;
                bytes.copy_within(from..from + length, to);
            }
            walk_both(&mut bytes);
        }
    }
    Ok(())
}

#[test]
fn every_truncation_is_refused() -> Outcome {
    let bytes = small_image(2, 40)?;
    for length in (0..bytes.len()).step_by(13) {
        assert!(Image::open(&bytes[..length]).is_err(), "{length}");
    }
    Ok(())
}

#[test]
fn noise_is_refused() {
    let mut random = StdRng::seed_from_u64(9);
    for length in [0, 1, 1023, 1024, 1152, 4095, 4096, 4097, 20_000] {
        let mut bytes = vec![0; length];
        random.fill(bytes.as_mut_slice());
        assert!(walk(&bytes).is_err());
    }
}
