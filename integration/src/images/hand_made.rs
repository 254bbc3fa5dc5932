//! eStargz layers by hand: TOCs that no converter writes, but that a registry may hold.

use anyhow::{Context, Result, bail};
use peel_layer::testing::{EStargzWriter, File, TarEntry};

use super::entry::{Entry, EntryKind};
use super::image::Image;
use super::layer::Layer;

/// The annotation that makes a layer eStargz: the digest of its TOC.
const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Largest owner of a plain tar header, which is all that the hand-made tar has: seven octal digits.
const LARGEST_OWNER: u64 = 0o7_777_777;

/// How hand-made layers are compressed.
#[derive(Clone, Copy, Debug)]
pub struct HandMade {
    /// Largest chunk in bytes.
    pub chunk_size: usize,
    /// Least uncompressed bytes of a member. Above zero, small files share one, and their chunks begin inside it.
    pub pack: usize,
}

impl Default for HandMade {
    fn default() -> Self {
        Self { chunk_size: 4 << 20, pack: 0 }
    }
}

impl HandMade {
    /// One layer of these entries, in tar and TOC as they are and in their order; those of too large an owner are
    /// left out. Times lose their fraction.
    ///
    /// # Errors
    /// When a name is not UTF-8 or content cannot be read.
    pub fn estargz(self, entries: &[Entry]) -> Result<Layer> {
        let mut writer = EStargzWriter::new().chunk_size(self.chunk_size).pack(self.pack);
        for entry in &tar_entries(entries)? {
            writer = writer.entry(entry);
        }
        let made = writer.finish();
        let layer = Layer::blob(made.blob, made.diff_id.to_string());
        Ok(layer.annotation(TOC_DIGEST, made.toc_digest.to_string()))
    }
}

impl HandMade {
    /// The same image with eStargz layers: no converter runs, so it takes no longer than a plain one.
    ///
    /// # Errors
    /// As [`HandMade::estargz`].
    pub fn image(self, image: &Image) -> Result<Image> {
        let layers = image.layers.iter().map(|layer| self.estargz(layer.entries())).collect::<Result<_>>()?;
        Ok(Image { layers, config: image.config.clone() })
    }
}

/// Entries for the writers by hand; those of too large an owner are left out.
///
/// # Errors
/// When a name is not UTF-8 or content cannot be read.
pub(super) fn tar_entries(entries: &[Entry]) -> Result<Vec<TarEntry>> {
    entries.iter().filter(|entry| entry.uid.max(entry.gid) <= LARGEST_OWNER).map(tar_entry).collect()
}

fn tar_entry(entry: &Entry) -> Result<TarEntry> {
    let file = match &entry.kind {
        EntryKind::File(content) => {
            let mut bytes = Vec::new();
            content.copy_to(&mut bytes)?;
            File::Regular(bytes)
        }
        EntryKind::Directory => File::Directory,
        EntryKind::Symlink(target) => File::Symlink(text(target)?),
        EntryKind::HardLink(target) => File::HardLink(text(target)?),
        EntryKind::CharDevice { major, minor } => File::CharDevice(*major, *minor),
        EntryKind::BlockDevice { major, minor } => File::BlockDevice(*major, *minor),
        EntryKind::Fifo => File::Fifo,
    };
    let mut made = TarEntry::new(&text(&entry.path)?, file).mode(entry.mode);
    made = made.owner(u32::try_from(entry.uid)?, u32::try_from(entry.gid)?);
    // Earlier than 1970 is 1970 to containerd too.
    made = made.mtime(u32::try_from(entry.mtime.seconds.max(0)).context("a time after 2106")?);
    for (name, value) in &entry.xattrs {
        made = made.xattr(&text(name)?, value);
    }
    Ok(made)
}

fn text(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => bail!("{} is not UTF-8, which a TOC must be", bytes.escape_ascii()),
    }
}
