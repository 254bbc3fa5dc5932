//! One image for each format.

use anyhow::{Context as _, Result};
use peel_integration::{
    images::{
        Destination, EStargz, Entry, Image, Layer, Layout, STREAMED, Skopeo, SociImage, repack,
        small_app::{SLEEP, base_layer},
    },
    node::Images,
};
use peel_layer::index::Format as Is;

const MIB: u64 = 1 << 20;

pub(crate) struct Format {
    pub(crate) name: &'static str,
    pub(crate) is: Is,
    /// Bytes that one read may fetch at most.
    pub(crate) most: u64,
    make: Make,
}

enum Make {
    /// From the plain image.
    Converted(fn(&Layout) -> Result<Layout>),
    Soci,
}

const fn converted(name: &'static str, is: Is, most: u64, make: fn(&Layout) -> Result<Layout>) -> Format {
    Format { name, is, most, make: Make::Converted(make) }
}

/// A chunk of a converter's has 4 MiB; one of Peel's has 1 MiB, and may lie in two units. Those of a tar have 1 MiB, spans
/// 4 MiB and what is left of a block; SOCI's here have 256 KiB.
pub(crate) const FORMATS: [Format; 9] = [
    converted("estargz", Is::EStargz, 4 * MIB, |plain| EStargz::default().convert(plain)),
    converted("zstd:chunked by stargz", Is::ZstdChunked, 4 * MIB, |plain| {
        EStargz::zstd_chunked().convert(plain)
    }),
    converted("zstd:chunked by skopeo", Is::ZstdChunked, 4 * MIB, |plain| Skopeo::Trixie.zstd_chunked(plain)),
    Format { name: "soci", is: Is::Soci, most: 5 * MIB, make: Make::Soci },
    converted("gzip", Is::Gzip, 9 * MIB, |plain| Ok(plain.clone())),
    converted("gzip of several members", Is::Gzip, 9 * MIB, |plain| repack(plain, &STREAMED[2..3])),
    converted("pigz in independent blocks", Is::Gzip, 9 * MIB, |plain| repack(plain, &STREAMED[8..9])),
    converted("zstd of several frames", Is::Zstd, 9 * MIB, |plain| repack(plain, &STREAMED[4..5])),
    converted("tar", Is::Tar, 2 * MIB, |plain| repack(plain, &STREAMED[3..4])),
];

/// An image in the registry, and its layer of files.
pub(crate) struct Source {
    pub(crate) format: &'static Format,
    pub(crate) name: String,
    pub(crate) layer: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) seed: u64,
}

impl Format {
    pub(crate) fn push(&'static self, number: u64, images: &Images) -> Result<Source> {
        let name = format!("ranges-{number}:it");
        let at = |what: &str| images.path().join(format!("ranges-{number}-{what}"));
        let files = files(number);
        let mut entries = vec![Entry::directory("data")];
        entries.extend(files.iter().map(|(path, content)| Entry::file(path, content.clone())));
        let image = Image::new(vec![base_layer()?, Layer::pressed(entries)], &SLEEP);
        let layout = match self.make {
            Make::Converted(make) => {
                let layout = make(&image.write(&at("plain"))?)?;
                images.push(&layout, &name)?;
                layout
            }
            Make::Soci => {
                let destination =
                    Destination::new(images.address().to_string(), &format!("ranges-{number}"), "it");
                let soci = SociImage::write(&image, &at("plain"), |_, _| {})?;
                soci.push_v2(&destination, &at("bound"), true)?
            }
        };
        let top = layout.manifest()?.layers.pop().context("layers")?;
        Ok(Source { format: self, name, layer: top.digest, files, seed: number + 1 })
    }
}

/// 26 MB in files of some kilobytes and of some megabytes; every other one compresses well.
fn files(seed: u64) -> Vec<(String, Vec<u8>)> {
    let sizes = (1..=60_u64).map(|number| number * 7001).chain((1..=4).map(|number| number * 1_300_001));
    sizes
        .zip(0..)
        .map(|(size, number)| (format!("data/{number:02}"), content(seed * 100 + number, size)))
        .collect()
}

fn content(seed: u64, size: u64) -> Vec<u8> {
    let mut noise = Vec::new();
    let length = if seed.is_multiple_of(2) { size } else { size / 8 + 1 };
    // Writing to memory cannot fail.
    let _ = peel_integration::images::Content::Noise { seed, length }.copy_to(&mut noise);
    if !seed.is_multiple_of(2) {
        let word = |byte: &u8| format!("word-{byte:03} ").into_bytes();
        noise = noise.iter().flat_map(word).take(usize::try_from(size).unwrap_or_default()).collect();
    }
    noise
}
