//! Layers packed by GNU tar, in its formats: long names and sparse files, each in several encodings.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use peel_layer::DiffId;

use super::image::Image;
use super::layer::Layer;
use super::layout::Layout;
use super::small_app::SLEEP;
use super::umoci::unpack;

/// How each layer is packed, and which paths are in it.
const LAYERS: [(&[&str], &[&str]); 5] = [
    // Not sparse: containerd does not know type S of the old format.
    (&["--format=gnu"], &["."]),
    // The rest of what an inode has, above the same without.
    (
        &["--format=posix", "--sparse", "--sparse-version=1.0", "--xattrs", "--xattrs-include=*"],
        &["names", "xattrs", "sparse"],
    ),
    (
        &["--format=posix", "--sparse", "--sparse-version=0.1", "--transform=s,^sparse,sparse-0.1,"],
        &["sparse"],
    ),
    (
        &["--format=posix", "--sparse", "--sparse-version=0.0", "--transform=s,^sparse,sparse-0.0,"],
        &["sparse"],
    ),
    (&["--format=posix", "--transform=s,^sparse,sparse-not,"], &["sparse"]),
];

/// The tree of `source` and some sparse files, packed by GNU tar.
///
/// # Errors
/// When tar or umoci fail.
pub fn gnu_tar(source: &Layout, directory: &Path) -> Result<Layout> {
    let work = tempfile::tempdir_in("/var/tmp")?;
    let root = unpack(source, work.path())?;
    sparse_files(&root.join("sparse"))?;
    let layer = |(options, paths): &(&[&str], &[&str])| {
        let mut tar = Command::new("tar");
        tar.args(["-c", "--numeric-owner", "-C"]).arg(&root).args(*options).args(*paths);
        let output = tar.stderr(Stdio::piped()).output().context("starting tar")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{tar:?}: {}: {said}", output.status);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&output.stdout)?;
        Ok(Layer::blob(packed.finish()?, DiffId::of(&output.stdout).to_string()))
    };
    let layers = LAYERS.iter().map(layer).collect::<Result<_>>()?;
    Image::new(layers, &SLEEP).write(directory)
}

/// Holes before, between and behind; many pieces; nothing but a hole.
fn sparse_files(directory: &Path) -> Result<()> {
    const MIB: u64 = 1 << 20;
    fs::create_dir(directory)?;
    let file = |name: &str, size: u64, pieces: &[u64]| -> Result<()> {
        let file = File::create(directory.join(name))?;
        file.set_len(size)?;
        for at in pieces {
            file.write_all_at(format!("piece at {at}\n").repeat(900).as_bytes(), *at)?;
        }
        Ok(())
    };
    let many: Vec<u64> = (0..40).map(|number| number * 70_000).collect();
    file("middle", 5 * MIB + 1, &[2 * MIB])?;
    file("start-and-end", 3 * MIB, &[0, 3 * MIB - 20_000])?;
    file("many", 4 * MIB, &many)?;
    file("nothing", 2 * MIB + 77, &[])?;
    file(&"long-name-".repeat(20), 3 * MIB, &[MIB])
}
