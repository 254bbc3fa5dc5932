//! The index of a layer that was streamed.

use std::io;

use super::Compression;
use super::tar::TarIndexed;
use super::units::Units;
use crate::BlobOffset;
use crate::data::stream::locate;
use crate::estargz::Summary;
use crate::index::{Chunk, Format, IndexFiles, IndexKey, Landmark, TableBuilder, TableEnd, write_tree};
use crate::seek::SeekEnd;

/// Why an index is not written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The tar and the units are not of the same blob.
    #[error("the tar has files outside of what the layer decodes to")]
    Units,
    /// The tree image.
    #[error("tree image cannot be written: {0}")]
    Tree(#[from] peel_erofs::WriteError),
    /// The chunk table.
    #[error("chunk table cannot be written: {0}")]
    Table(#[source] io::Error),
    /// The seek index.
    #[error("seek index cannot be written: {0}")]
    Seek(#[source] io::Error),
}

/// Writes the index of a layer, whose `units` and `tar` were both read to their ends. It is up to the caller to have
/// compared the digest of the blob with the layer's and that of the tar with its diff id.
///
/// # Errors
/// [`IndexError`]; what was written is of no use then.
pub fn write_index(
    tar: TarIndexed,
    units: Units,
    key: IndexKey,
    files: &mut IndexFiles<'_>,
) -> Result<Summary, IndexError> {
    let mut table = TableBuilder::default();
    for start in &units.blob {
        table.unit(*start);
    }
    for piece in &tar.pieces {
        let end = piece.stream + u64::from(piece.length);
        let held = locate(&units.stream, piece.stream..end).filter(|_| end <= units.stream_size);
        let (holding, inner) = held.ok_or(IndexError::Units)?;
        let data = piece.data.span(piece.length.into());
        table.chunk(&Chunk { data, digest: Some(piece.digest), units: holding, inner });
    }
    for file in &tar.files {
        table.file(file);
    }
    drop((tar.pieces, tar.files));

    let tree = write_tree(&tar.unpacked.tree, tar.data_size, files.tree)?;

    let summary = Summary {
        entries: tar.entries,
        inodes: tree.inodes,
        chunks: table.chunk_count() as u64,
        content_bytes: table.content_size(),
        tree_bytes: tree.bytes,
    };
    let end = TableEnd {
        key,
        format: match units.compression {
            Compression::Gzip => Format::Gzip,
            Compression::Zstd => Format::Zstd,
            Compression::None | Compression::Unknown => Format::Tar,
        },
        tree_digest: tree.digest,
        blob_size: units.blob_size,
        units_end: BlobOffset(units.blob_size),
        data_size: tar.data_size,
        landmark: Landmark::Absent,
        implied: &tar.unpacked.implied,
    };
    table.write(&end, files.table).map_err(IndexError::Table)?;
    if let Some(seek) = units.seek {
        let end = SeekEnd { blob: BlobOffset(units.blob_size), stream: units.stream_size };
        seek.write(end, files.seek).map_err(IndexError::Seek)?;
    }
    Ok(summary)
}
