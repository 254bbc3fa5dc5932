//! A layer to be: its entries, how it is compressed, and what the manifest says of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use super::entry::Entry;
use super::layout::{Descriptor, Layout};
use super::tar::write_archive;

/// OCI's media type of a gzip layer, by far the most common.
pub const MEDIA_TYPE_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI's media type of a layer that is not compressed.
pub const MEDIA_TYPE_TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// OCI's media type of a gzip layer that may not be redistributed: containerd takes it, and Peel leaves it to containerd.
pub const MEDIA_TYPE_NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

/// A layer as a test describes it.
#[derive(Clone, Debug)]
pub struct Layer {
    source: Source,
    media_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// Where a layer's blob comes from.
#[derive(Clone, Debug)]
enum Source {
    /// Written as tar and compressed; `None` leaves it a plain tar.
    Entries(Vec<Entry>, Option<Compression>),
    /// A finished blob and the diff id that the config shall claim.
    Blob { bytes: Vec<u8>, diff_id: String },
}

/// A layer that was written into a layout.
#[derive(Clone, Debug)]
pub struct WrittenLayer {
    /// What the manifest says.
    pub descriptor: Descriptor,
    /// sha256 of the uncompressed tar, for the config.
    pub diff_id: String,
}

impl Layer {
    /// A gzip layer of these entries. Speed over size: tests wait for the compressor more than for loopback.
    #[must_use]
    pub fn gzip(entries: Vec<Entry>) -> Self {
        Self::from_source(Source::Entries(entries, Some(Compression::fast())))
    }

    /// A gzip layer as users' tools write it, with the level that gzip(1) and Docker have by themselves.
    #[must_use]
    pub fn pressed(entries: Vec<Entry>) -> Self {
        Self::from_source(Source::Entries(entries, Some(Compression::default())))
    }

    /// An uncompressed layer.
    #[must_use]
    pub fn tar(entries: Vec<Entry>) -> Self {
        Self::from_source(Source::Entries(entries, None))
    }

    /// A finished blob, e.g. one of a hand-made eStargz writer, or a broken one. `diff_id` has the form `sha256:…`.
    #[must_use]
    pub fn blob(bytes: Vec<u8>, diff_id: impl Into<String>) -> Self {
        Self::from_source(Source::Blob { bytes, diff_id: diff_id.into() })
    }

    fn from_source(source: Source) -> Self {
        Self { source, media_type: None, annotations: BTreeMap::new() }
    }

    /// Says another media type than the one that fits the compression.
    #[must_use]
    pub fn media_type(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.to_owned());
        self
    }

    /// Adds an annotation to the descriptor in the manifest.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// The entries it was made of; none for a finished blob.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.source {
            Source::Entries(entries, _) => entries,
            Source::Blob { .. } => &[],
        }
    }

    /// Writes the blob into `layout`.
    ///
    /// # Errors
    /// When the layout cannot be written or the content of an entry cannot be read.
    pub fn write(&self, layout: &Layout) -> Result<WrittenLayer> {
        let (mut descriptor, diff_id) = match &self.source {
            Source::Blob { bytes, diff_id } => (layout.add_blob(MEDIA_TYPE_GZIP, bytes)?, diff_id.clone()),
            Source::Entries(entries, compression) => {
                let temporary = tempfile::NamedTempFile::new_in(layout.path())?;
                let (descriptor, diff_id) = write_blob(entries, *compression, temporary.path())?;
                let blob = layout.blob_path(&descriptor.digest);
                temporary.persist(&blob).with_context(|| format!("cannot store {}", blob.display()))?;
                (descriptor, diff_id)
            }
        };
        if let Some(media_type) = &self.media_type {
            descriptor.media_type.clone_from(media_type);
        }
        descriptor.annotations.clone_from(&self.annotations);
        Ok(WrittenLayer { descriptor, diff_id })
    }
}

/// Writes tar, hashed before and after compression, to `path`.
fn write_blob(
    entries: &[Entry],
    compression: Option<Compression>,
    path: &Path,
) -> Result<(Descriptor, String)> {
    let file = BufWriter::new(fs::File::create(path)?);
    let compressed = HashingWriter::new(file);
    let (compressed, diff_id, media_type) = match compression {
        Some(level) => {
            let mut plain = HashingWriter::new(GzEncoder::new(compressed, level));
            write_archive(entries, &mut plain)?;
            let (encoder, diff_id, _) = plain.finish();
            (encoder.finish()?, Some(diff_id), MEDIA_TYPE_GZIP)
        }
        None => {
            let mut plain = compressed;
            write_archive(entries, &mut plain)?;
            (plain, None, MEDIA_TYPE_TAR)
        }
    };
    let (mut file, digest, size) = compressed.finish();
    file.flush()?;
    let diff_id = diff_id.unwrap_or_else(|| digest.clone());
    Ok((Descriptor::new(media_type, digest, size), diff_id))
}

/// Counts and hashes what passes through.
struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> HashingWriter<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// The writer below, `sha256:…` of what passed, and how many bytes it was.
    fn finish(self) -> (W, String, u64) {
        (self.inner, super::layout::digest_text(&self.hash.finalize()), self.size)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
