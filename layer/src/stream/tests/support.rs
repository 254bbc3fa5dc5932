//! What the tests of streaming share.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::super::{Compression, Decompressor, StreamError, Units};

/// How a test cuts what it feeds.
pub(super) enum Cuts {
    /// Not at all.
    Whole,
    /// Into pieces of random sizes below this.
    Random(usize, Box<StdRng>),
}

impl Cuts {
    pub(super) fn random(max: usize, seed: u64) -> Self {
        Self::Random(max, Box::new(StdRng::seed_from_u64(seed)))
    }

    fn next(&mut self) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Random(max, random) => random.random_range(0..*max),
        }
    }
}

/// Everything that a blob decodes to, and its units.
pub(super) fn decompress(
    blob: &[u8],
    announced: Compression,
    cuts: &mut Cuts,
) -> Result<(Vec<u8>, Units), StreamError> {
    let mut decompressor = Decompressor::new(announced);
    let (mut rest, mut tar) = (blob, Vec::new());
    loop {
        let input = &rest[..rest.len().min(cuts.next())];
        let mut output = vec![0xaa; cuts.next().min(1 << 16)];
        let step = decompressor.step(input, &mut output)?;
        assert!(step.consumed <= input.len() && step.produced <= output.len());
        tar.extend_from_slice(&output[..step.produced]);
        rest = &rest[step.consumed..];
        if rest.is_empty() && step.produced < output.len() {
            break;
        }
    }
    Ok((tar, decompressor.finish()?))
}

/// Bytes that compress to about a half and hold no long repetition.
pub(super) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..length).map(|_| random.random_range(b'a'..b'q')).collect()
}
