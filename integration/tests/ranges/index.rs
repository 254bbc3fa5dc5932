//! What Peel's index of a layer says of where files are in its blob.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context as _, Result};
use peel_erofs::Image;
use peel_layer::{ChunkId, DataOffset, LayerIndex, index::Format, seek::SeekIndex};

/// What a request is stretched by: `range_min` of `fetch/src/config.rs`.
const STRETCH: u64 = 64 << 10;
/// And what may lie between two ranges that are asked for as one: `gap` there.
const GAP: u64 = 16 << 10;
/// The kernel reads pages.
const PAGE: u64 = 4096;

pub(crate) struct Index {
    table: LayerIndex<Vec<u8>>,
    tree: Image<Vec<u8>>,
}

impl Index {
    /// That of the layer with this digest.
    pub(crate) fn open(root: &Path, layer: &str) -> Result<Self> {
        for entry in fs::read_dir(root.join("index"))? {
            let folder = entry?.path();
            let Ok(bytes) = fs::read(folder.join("chunks")) else { continue };
            let mut table = LayerIndex::parse(bytes)?;
            if table.key().layer.to_string() != layer {
                continue;
            }
            if table.format().has_seek_index() {
                table = table.with_seek(SeekIndex::parse(fs::read(folder.join("seek"))?)?)?;
            }
            return Ok(Self { table, tree: Image::open(fs::read(folder.join("tree.erofs"))?)? });
        }
        anyhow::bail!("no index of {layer}")
    }

    pub(crate) fn format(&self) -> Format {
        self.table.format()
    }

    /// The ranges of the blob that may be fetched for these bytes of a file.
    pub(crate) fn needs(&self, path: &str, bytes: &Range<usize>) -> Result<Vec<Range<u64>>> {
        let mut inode = self.tree.inode(self.tree.root())?;
        for name in path.split('/') {
            let entry = self.tree.lookup(&inode, name.as_bytes())?;
            inode = self.tree.inode(entry.with_context(|| format!("no {path} in the tree"))?.nid)?;
        }
        let start = self.tree.data_start(&inode)?.context("an empty file")?;
        let (first, last) = (u64::try_from(bytes.start)?, u64::try_from(bytes.end)?);
        let pages = start + first / PAGE * PAGE..start + last.next_multiple_of(PAGE);
        let chunks = self.table.chunks_in(DataOffset(pages.start)..DataOffset(pages.end));
        let mut needed: Vec<Range<u64>> = Vec::new();
        for id in chunks.map(ChunkId) {
            let range = self.table.blob_range(id);
            let end = range.end.0.max(range.start.0 + STRETCH);
            match needed.last_mut() {
                Some(last) if range.start.0 <= last.end + GAP => last.end = last.end.max(end),
                _ => needed.push(range.start.0..end),
            }
        }
        Ok(needed)
    }
}
