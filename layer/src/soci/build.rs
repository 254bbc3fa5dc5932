//! From a ztoc to an index: the tree image, the chunk table and the seek index.
//!
//! Files get their chunks where they lie in the layer's uncompressed stream: cut at every MiB of the file, so that one
//! read does not cost a whole span, and where a span ends, so that every chunk can be decoded from one span. No digest
//! of them is known; a span's is, and what is decoded from bytes that have it is verified (see [`crate::verified`]).

use std::io;

use super::entry::{Budget, FileEntry, TAR_BLOCK};
use super::error::{EntryProblem, IndexError};
use super::spans::Span;
use super::ztoc::Ztoc;
use crate::data::DataLayout;
use crate::index::{Chunk, Format, IndexFiles, IndexKey, Landmark, TableBuilder, TableEnd, write_tree};
use crate::limits::Limits;
use crate::seek::{Checkpoint, SeekBuilder, SeekEnd};
use crate::toc::{BuiltIndex, Summary};
use crate::unpack::{Entry, EntryKind, Placed, Unpacker};
use crate::{BlobOffset, LayerDigest, TocDigest};

/// Largest chunk.
const CHUNK: u64 = 1 << 20;

/// Makes the index of a layer of `blob_size` bytes from the bytes of its ztoc; the parts go to `files`.
///
/// Nothing is written before the ztoc is known to have the digest `expected`, which the SOCI index has, and to be sound.
///
/// # Errors
/// [`IndexError`]; what was written is of no use then. [`IndexError::Digest`] may be the fault of whoever sent the bytes,
/// the others are those of the index's author.
pub fn build_index(
    layer: LayerDigest,
    blob_size: u64,
    ztoc: &[u8],
    expected: TocDigest,
    limits: &Limits,
    files: &mut IndexFiles<'_>,
) -> Result<BuiltIndex, IndexError> {
    let found = TocDigest::of(ztoc);
    if found != expected {
        return Err(IndexError::Digest { expected, found });
    }
    let ztoc = Ztoc::open(ztoc, blob_size, limits)?;
    let mut builder = Builder::new(&ztoc, limits);
    for entry in ztoc.entries.iter() {
        builder.take(&entry?)?;
    }
    let key = IndexKey { layer, described_by: expected };
    let summary = builder.write(key, files)?;
    Ok(BuiltIndex { key, summary })
}

/// Takes entries in the order of the tar.
struct Builder<'a> {
    ztoc: &'a Ztoc<'a>,
    limits: &'a Limits,
    unpacker: Unpacker,
    data: DataLayout,
    table: TableBuilder,
    budget: Budget,
    entries: u64,
    /// Where the last entry ends in the tar.
    end: u64,
    /// The span that it ends in.
    span: usize,
}

impl<'a> Builder<'a> {
    fn new(ztoc: &'a Ztoc<'a>, limits: &'a Limits) -> Self {
        let mut table = TableBuilder::default();
        for span in &ztoc.spans {
            table.unit(span.blob.start);
        }
        Self {
            ztoc,
            limits,
            unpacker: Unpacker::new(limits),
            data: DataLayout::default(),
            table,
            budget: Budget(limits.toc_json),
            entries: 0,
            end: 0,
            span: 0,
        }
    }

    fn take(&mut self, entry: &FileEntry<'_>) -> Result<(), IndexError> {
        self.entries += 1;
        let name = entry.name(&mut self.budget).map_err(|problem| self.error(b"", problem))?;
        self.file(entry, name).map_err(|problem| self.error(name, problem))
    }

    fn error(&self, name: &[u8], problem: EntryProblem) -> IndexError {
        let name = String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned();
        IndexError::Entry { number: self.entries, name, problem }
    }

    fn file(&mut self, entry: &FileEntry<'_>, name: &[u8]) -> Result<(), EntryProblem> {
        let kind = entry.kind(&mut self.budget)?;
        let metadata = entry.metadata(&mut self.budget)?;
        let start = self.place(entry.offset()?, kind)?;
        let placed = self.unpacker.apply(&Entry { name, kind, metadata })?;
        let EntryKind::File(size) = kind else { return Ok(()) };
        let kept = matches!(placed, Placed::File(_));
        let block = self.data.open(size, kept)?;
        if let Placed::File(node) = placed {
            self.unpacker.place(node, block);
        }
        let mut at = 0;
        while at < size {
            at += self.chunk(start, at, size)?;
        }
        Ok(self.data.close()?)
    }

    /// Where the entry's content begins, if its header fits between that and what is before, and its bytes before the
    /// end of the archive.
    fn place(&mut self, at: u64, kind: EntryKind<'_>) -> Result<u64, EntryProblem> {
        let end = self.end.next_multiple_of(TAR_BLOCK);
        if at < end.saturating_add(TAR_BLOCK) || !at.is_multiple_of(TAR_BLOCK) {
            return Err(EntryProblem::Place { at, end });
        }
        let bytes = if let EntryKind::File(size) = kind { size } else { 0 };
        let (end, archive) = (at.checked_add(bytes), self.ztoc.sizes.archive);
        self.end = end.filter(|end| *end <= archive).ok_or(EntryProblem::BehindTheEnd(archive))?;
        Ok(at)
    }

    /// The next chunk of a file of `size` bytes that begins at `start` in the tar; says its length.
    fn chunk(&mut self, start: u64, at: u64, size: u64) -> Result<u64, EntryProblem> {
        let from = start + at;
        // Files come in the order of the tar, and spans cover it to its end.
        while self.span().is_some_and(|span| span.stream.end <= from) {
            self.span += 1;
        }
        let span = self.span().ok_or(EntryProblem::BehindTheEnd(self.ztoc.sizes.archive))?;
        let (span_start, span_end) = (span.stream.start, span.stream.end);
        let length = (size - at).min(CHUNK - at % CHUNK).min(span_end - from);
        if self.table.chunk_count() as u64 >= self.limits.chunks {
            return Err(EntryProblem::TooManyChunks(self.limits.chunks));
        }
        if let Some(place) = self.data.chunk(at, length)? {
            let unit = u32::try_from(self.span).unwrap_or(u32::MAX);
            let units = unit..unit.saturating_add(1);
            self.table.chunk(&Chunk {
                data: place.span(length),
                digest: None,
                units,
                inner: from - span_start,
            });
        }
        Ok(length)
    }

    fn span(&self) -> Option<&Span<'a>> {
        self.ztoc.spans.get(self.span)
    }

    fn write(self, key: IndexKey, files: &mut IndexFiles<'_>) -> Result<Summary, IndexError> {
        let data_size = self.data.size();
        let unpacked = self.unpacker.finish().map_err(IndexError::Unpack)?;

        let tree = write_tree(&unpacked.tree, data_size, files.tree)?;

        let seek = write_seek(self.ztoc, files.seek).map_err(IndexError::Seek)?;
        let summary = Summary {
            entries: self.entries,
            inodes: tree.inodes,
            chunks: self.table.chunk_count() as u64,
            content_bytes: self.table.content_size(),
            tree_bytes: tree.bytes,
        };
        let end = TableEnd {
            key,
            format: Format::Soci,
            tree_digest: tree.digest,
            blob_size: self.ztoc.sizes.blob,
            units_end: seek.blob,
            data_size,
            landmark: Landmark::Absent,
            implied: &unpacked.implied,
        };
        self.table.write(&end, files.table).map_err(IndexError::Table)?;
        Ok(summary)
    }
}

fn write_seek(ztoc: &Ztoc<'_>, out: &mut dyn io::Write) -> io::Result<SeekEnd> {
    let mut seek = if ztoc.gzip { SeekBuilder::default() } else { SeekBuilder::plain() };
    for span in &ztoc.spans {
        let checkpoint = Checkpoint {
            blob_at: span.first_full(),
            bits: span.bits,
            stream_at: span.stream.start,
            window: span.window.to_vec(),
        };
        seek.push(&checkpoint, Some(*span.digest.as_bytes()));
    }
    let end = ztoc.spans.last().map_or((BlobOffset(0), 0), |last| (last.blob.end, last.stream.end));
    let end = SeekEnd { blob: end.0, stream: end.1 };
    seek.write(end, out)?;
    Ok(end)
}
