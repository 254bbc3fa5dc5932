//! Rows `index.build_mb_s` and `index.size_share`: what the index of a layer that nobody indexed costs, in time while it
//! is streamed and on disk afterwards.
//!
//! Measured without daemon, registry and disk: one thread decodes a gzip layer, hashes its files and writes the index, bytes
//! from memory, files to nowhere. The pipeline does the same on several threads, and hashes blob and tar besides.

use std::{fs, io, time::Instant};

use anyhow::{Context as _, Result};
use peel_layer::stream::{Compression, DataSink, Decompressor, TarIndexer, write_index};
use peel_layer::testing::IndexBytes;
use peel_layer::{DataOffset, DiffId, IndexKey, Limits};

use super::{
    Options, image, machine,
    report::{Measured, Report},
    samples::Samples,
};

const BUILD: &str = "index.build_mb_s";
const SHARE: &str = "index.size_share";

/// Bytes of the blob that are decoded at a time, and of the tar that come out at most: what the pipeline hands over.
const STEP: usize = 256 << 10;

/// Measures the selected rows on the largest layer of the benchmark's image: that of a Debian and Python.
///
/// # Errors
/// When the image cannot be made.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let wants = |name| options.selection.wants(name);
    if !wants(BUILD) && !wants(SHARE) {
        return Ok(());
    }
    let (plain, _) = image::images()?;
    let manifest = plain.manifest()?;
    // The last layer is made of noise: nothing about it is like a real one.
    let real = manifest.layers.split_last().map_or(&[][..], |(_, real)| real);
    let layer = real.iter().max_by_key(|layer| layer.size).context("the image has no layer")?;
    let blob = fs::read(plain.blob_path(&layer.digest))?;
    // Nothing is published, so nobody asks which tar it is.
    let key = IndexKey::streamed(layer.digest.parse()?, DiffId::of(b""));
    let (mut speeds, mut shares) = (Samples::default(), Samples::default());
    for _ in 0..options.runs {
        report.count_sample(machine::wait_until_idle(options.patience)?);
        let begin = Instant::now();
        let (tar_bytes, index) = build(&blob, key)?;
        speeds.add(number(tar_bytes)? / 1e6 / begin.elapsed().as_secs_f64());
        let bytes = index.tree.len() + index.table.len() + index.seek.len();
        shares.add(number(bytes as u64)? / number(layer.size)?);
    }
    for (name, unit, peel) in [(BUILD, "MB/s", speeds), (SHARE, "of the blob", shares)] {
        if wants(name) {
            report.add(Measured { name: name.into(), unit, goal: None, peel, baseline: None });
        }
    }
    Ok(())
}

/// The size of a blob's tar, and its index.
fn build(blob: &[u8], key: IndexKey) -> Result<(u64, IndexBytes)> {
    let mut decompressor = Decompressor::new(Compression::Gzip);
    let mut indexer = TarIndexer::new(&Limits::default());
    let (mut rest, mut output) = (blob, vec![0; STEP]);
    loop {
        let step = decompressor.step(&rest[..rest.len().min(STEP)], &mut output)?;
        rest = &rest[step.consumed..];
        indexer.push(&output[..step.produced], &mut Nowhere)?;
        if rest.is_empty() && step.produced < output.len() {
            break;
        }
    }
    let (units, mut index) = (decompressor.finish()?, IndexBytes::default());
    let tar_bytes = units.stream_size();
    write_index(indexer.finish()?, units, key, &mut index.files())?;
    Ok((tar_bytes, index))
}

/// Takes the bytes of files and forgets them.
struct Nowhere;

impl DataSink for Nowhere {
    fn write(&mut self, _: DataOffset, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of one layer: below 4 GiB.
fn number(bytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(bytes)?))
}
