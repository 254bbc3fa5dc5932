//! Layers compressed anew, by the tools that users' images come from: the same tars, other blobs.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use flate2::write::GzEncoder;

use super::artefact::artefact;
use super::layout::{Layout, Manifest};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// One way to compress a tar.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// For messages.
    pub name: &'static str,
    media_type: &'static str,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// A shell script from standard input to standard output, in an empty folder of its own.
    Script(&'static str),
    /// What no tool does.
    Code(fn(&[u8]) -> Result<Vec<u8>>),
}

const fn packing(name: &'static str, media_type: &'static str, script: &'static str) -> Packing {
    Packing { name, media_type, how: How::Script(script) }
}

/// Those without an index, which are streamed.
pub const STREAMED: [Packing; 10] = [
    packing("zstd without content size", ZSTD, "zstd -3 -c --no-content-size"),
    packing("pigz", GZIP, "pigz -c -p 2 -b 128"),
    // gzip writes each file's name into its header.
    packing(
        "gzip of several members with names",
        GZIP,
        "split -b 150000 - part. && if ls part.* > /dev/null 2>&1; then gzip -3 -N part.* && cat part.*; else gzip -c; fi",
    ),
    packing("tar", TAR, "cat"),
    packing(
        "zstd of several frames",
        ZSTD,
        "split -b 150000 - part. && if ls part.* > /dev/null 2>&1; then zstd -q -c part.*; else zstd -c; fi",
    ),
    packing("zstd with a long window", ZSTD, "zstd -q -c --long=27 --ultra -20"),
    packing("zstd with content size", ZSTD, "cat > tar && zstd -q -c tar"),
    packing("gzip that may be resynchronised", GZIP, "gzip --rsyncable -c -9"),
    packing("pigz in independent blocks", GZIP, "pigz -c -i -p 2 -b 128"),
    Packing { name: "gzip flushed before its first byte", media_type: GZIP, how: How::Code(flushed_gzip) },
];

/// A first block without bytes, as writers make it that send the header off before they have data: the first two
/// places to begin at are one.
fn flushed_gzip(tar: &[u8]) -> Result<Vec<u8>> {
    /// Empty, stored, not the last.
    const BLOCK: [u8; 5] = [0, 0, 0, 0xff, 0xff];
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.flush()?;
    encoder.write_all(tar)?;
    let packed = encoder.finish()?;
    ensure!(packed.get(10..15) == Some(&BLOCK), "it begins {:02x?}", packed.get(..20));
    Ok(packed)
}

/// Compresses each layer of `source`, whose layers are gzip or not compressed, with the next of `packings`.
///
/// # Errors
/// When a tool is missing or fails.
pub fn repack(source: &Layout, packings: &[Packing]) -> Result<Layout> {
    let digest = source.manifest_descriptor()?.digest.replacen("sha256:", "", 1);
    let ways = format!("{:?}", packings.iter().map(Packing::id).collect::<Vec<_>>());
    let name = format!("repacked-{}-{:08x}", &digest[..32.min(digest.len())], crc32(ways.as_bytes()));
    let make = |out: &Path| {
        let layout = Layout::create(out)?;
        let manifest = source.manifest()?;
        let mut layers = Vec::new();
        for (layer, packing) in manifest.layers.iter().zip(packings.iter().cycle()) {
            let packed = packing.pack(&source.blob_path(&layer.digest))?;
            layers.push(layout.add_blob(packing.media_type, &packed)?);
        }
        let config = std::fs::read(source.blob_path(&manifest.config.digest))?;
        layout.add_blob(&manifest.config.media_type, &config)?;
        layout.set_manifest(&Manifest { layers, ..manifest }).map(drop)
    };
    artefact(&name, make).map(Layout::open)
}

impl Packing {
    /// Another one for everything that gives other bytes.
    fn id(&self) -> &'static str {
        match self.how {
            How::Script(script) => script,
            How::Code(_) => self.name,
        }
    }

    /// Compresses the tar in the blob of a layer, which is gzip or not compressed.
    fn pack(&self, blob: &Path) -> Result<Vec<u8>> {
        let script = match self.how {
            How::Script(script) => script,
            How::Code(_) => "cat",
        };
        let folder = tempfile::tempdir_in("/var/tmp")?;
        let output = Command::new("sh")
            .args(["-e", "-c", &format!("gzip -dcf | ( mkdir in && cd in && {script} )")])
            .current_dir(folder.path())
            .stdin(Stdio::from(File::open(blob)?))
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}: {said}", self.name, output.status);
        match self.how {
            How::Script(_) => Ok(output.stdout),
            How::Code(code) => code(&output.stdout),
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// An image whose layers are those of `images`, which hold the same files, in turn.
///
/// # Errors
/// When a layout is damaged or the new one cannot be written.
pub fn mixed(images: &[&Layout], directory: &Path) -> Result<Layout> {
    let first = images.first().context("no images to mix")?;
    let layout = Layout::create(directory)?;
    let mut manifest = first.manifest()?;
    let read_config = |image: &Layout| -> Result<serde_json::Value> {
        let config = std::fs::read(image.blob_path(&image.manifest()?.config.digest))?;
        Ok(serde_json::from_slice(&config)?)
    };
    let mut config = read_config(first)?;
    for (position, image) in (0..manifest.layers.len()).zip(images.iter().cycle()) {
        let layer = image.manifest()?.layers.get(position).cloned().context("images of other layers")?;
        std::fs::copy(image.blob_path(&layer.digest), layout.blob_path(&layer.digest))?;
        config["rootfs"]["diff_ids"][position] = read_config(image)?["rootfs"]["diff_ids"][position].take();
        manifest.layers[position] = layer;
    }
    manifest.config = layout.add_blob(&manifest.config.media_type, &serde_json::to_vec(&config)?)?;
    layout.set_manifest(&manifest)?;
    Ok(layout)
}
