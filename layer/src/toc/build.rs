//! From a TOC to an index: the tree image and the chunk table.

use std::{io, ops::Range};

use peel_erofs::{Metadata, Rdev};

use super::entry::TocEntry;
use super::error::{EntryProblem, IndexError};
use super::json::{self, Stop};
use super::text::{Decode, Text};
use crate::data::named::{NamedUnits, Piece};
use crate::data::{BLOCK, DataLayout};
use crate::index::{Format, IndexFiles, IndexKey, Landmark, LargeFile, TableEnd, write_tree};
use crate::limits::Limits;
use crate::time::modification_time;
use crate::unpack::{Entry, EntryKind, Placed, Unpacker};
use crate::{BlobOffset, ChunkDigest, DataOffset, TocDigest};

/// Marks the end of the files that a start needs (layer-formats.md, "Landmarks").
const PREFETCH: &str = ".prefetch.landmark";
/// A chunk of zeros (containers/storage, `internal.ChunkTypeZeros`). They are in the stream too, as in every tar, but
/// nobody needs to fetch them to know them.
const HOLE: &str = "zeros";
/// Says that there are none.
const NO_PREFETCH: &str = ".no.prefetch.landmark";

/// An index that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltIndex {
    /// What it is the index of.
    pub key: IndexKey,
    /// What is in it.
    pub summary: Summary,
}

/// Numbers about an index, for logs and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries of the TOC.
    pub entries: u64,
    /// Inodes of the tree.
    pub inodes: u64,
    /// Chunks of the table.
    pub chunks: u64,
    /// Bytes of all chunks.
    pub content_bytes: u64,
    /// Bytes of the tree image.
    pub tree_bytes: u64,
}

/// Which blob a TOC describes, and how.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) key: IndexKey,
    pub(crate) format: Format,
    /// Where what holds chunks ends in the blob.
    pub(crate) content_end: BlobOffset,
    /// Most bytes that the format's compression makes of one.
    pub(crate) expansion: u64,
    pub(crate) blob_size: u64,
}

/// Whether `toc` has the bytes of `range`.
pub(crate) fn check_length(range: &Range<BlobOffset>, toc: &[u8]) -> Result<(), IndexError> {
    let (expected, found) = (range.end.0.saturating_sub(range.start.0), toc.len() as u64);
    if expected == found { Ok(()) } else { Err(IndexError::Length { expected, found }) }
}

/// Makes an index of a TOC. Nothing is written before its JSON is known to have the digest `expected`, unless the
/// caller has checked it in another way.
pub(crate) fn build(
    mut text: Text<impl Decode>,
    expected: Option<TocDigest>,
    origin: &Origin,
    limits: &Limits,
    files: &mut IndexFiles<'_>,
) -> Result<BuiltIndex, IndexError> {
    let mut builder = Builder::new(limits, origin);
    let parsed = builder.read(&mut text);
    // Bytes that nobody vouches for cannot tell what is wrong with the image: their digest comes first.
    let found = text.finish()?;
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(IndexError::Digest { expected, found });
    }
    parsed?;
    let summary = builder.write(origin, files)?;
    Ok(BuiltIndex { key: origin.key, summary })
}

/// Takes entries in the order of the TOC.
struct Builder<'a> {
    limits: &'a Limits,
    unpacker: Unpacker,
    data: DataLayout,
    units: NamedUnits,
    landmark: Landmark,
    entries: u64,
    /// The file whose chunks are being read, for messages.
    file: String,
}

impl<'a> Builder<'a> {
    fn new(limits: &'a Limits, origin: &Origin) -> Self {
        Self {
            limits,
            unpacker: Unpacker::new(limits),
            data: DataLayout::default(),
            units: NamedUnits::new(origin.content_end, origin.expansion),
            landmark: Landmark::Absent,
            entries: 0,
            file: String::new(),
        }
    }

    fn read(&mut self, json: impl io::Read) -> Result<(), IndexError> {
        let (mut stopped, string_max) = (None, self.limits.json_string);
        let parsed = json::read(json, string_max, &mut |entry| {
            self.take(&entry).map_err(|error| {
                stopped = Some(error);
                Stop
            })
        });
        match (stopped, parsed) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(IndexError::Json(error.to_string())),
            (None, Ok(())) => Ok(()),
        }
    }

    fn take(&mut self, entry: &TocEntry) -> Result<(), IndexError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(IndexError::TooManyEntries(self.limits.entries));
        }
        let taken = if entry.kind == "chunk" {
            self.chunk(entry)
        } else {
            let last = self.data.close().map_err(|problem| self.error(problem.into()));
            self.file = entry.name.chars().take(200).collect();
            last?;
            self.file(entry)
        };
        taken.map_err(|problem| self.error(problem))
    }

    /// About the file being read; a chunk belongs to it, whatever name the chunk's entry has.
    fn error(&self, problem: EntryProblem) -> IndexError {
        IndexError::Entry { number: self.entries, name: self.file.clone(), problem }
    }

    fn file(&mut self, entry: &TocEntry) -> Result<(), EntryProblem> {
        let kind = kind_of(entry)?;
        let metadata = Metadata {
            // Type bits of the tar's mode, if any, say nothing: the type has a field of its own.
            permissions: u16::try_from(entry.mode & 0o7777).unwrap_or_default(),
            uid: owner("uid", entry.uid)?,
            gid: owner("gid", entry.gid)?,
            mtime: modification_time(&entry.modification_time),
            xattrs: entry.xattrs.0.clone(),
        };
        let placed = self.unpacker.apply(&Entry { name: entry.name.as_bytes(), kind, metadata })?;
        let EntryKind::File(size) = kind else { return Ok(()) };
        let block = self.data.open(size, matches!(placed, Placed::File(_)))?;
        if let Placed::File(node) = placed {
            self.unpacker.place(node, block);
            self.note_large(entry, DataOffset(u64::from(block) * BLOCK), size);
        }
        if size > 0 {
            self.chunk(entry)?;
            self.note_landmark(entry)?;
        }
        Ok(())
    }

    /// A file whose first chunk is not all of it can be found by its own digest too. One that is no digest harms nobody.
    fn note_large(&mut self, entry: &TocEntry, start: DataOffset, size: u64) {
        let first = u64::try_from(entry.chunk_size).unwrap_or_default();
        if (1..size).contains(&first)
            && let Ok(digest) = entry.digest.parse()
        {
            self.units.file(&LargeFile { data: start.span(size), digest });
        }
    }

    /// A chunk, which is the file's entry itself for the first.
    fn chunk(&mut self, entry: &TocEntry) -> Result<(), EntryProblem> {
        let size = self.data.file_size()?;
        let at = positive("chunkOffset", entry.chunk_offset)?;
        let length = match positive("chunkSize", entry.chunk_size)? {
            // Absent: to the end of the file.
            0 => size.saturating_sub(at),
            length => length,
        };
        if entry.chunk_type == HOLE {
            return Ok(self.data.hole(at, length)?);
        }
        let digest = match (entry.chunk_digest.as_str(), entry.digest.as_str()) {
            ("", "") => return Err(EntryProblem::NoDigest),
            // The file's digest serves for its only chunk.
            ("", whole) if at == 0 && length == size => whole,
            ("", _) => return Err(EntryProblem::NoDigest),
            (chunk, _) => chunk,
        };
        let digest: ChunkDigest = digest.parse()?;
        let unit = BlobOffset(positive("offset", entry.offset)?);
        let inner = positive("innerOffset", entry.inner_offset)?;
        if unit.0 == 0 && inner == 0 {
            // The blob begins with a tar header: no payload can be there.
            return Err(EntryProblem::Value { field: "offset", value: 0 });
        }
        let place = self.data.chunk(at, length)?;
        Ok(self.units.chunk(&Piece { length, unit, inner, digest }, place)?)
    }

    fn note_landmark(&mut self, entry: &TocEntry) -> Result<(), EntryProblem> {
        match entry.name.trim_start_matches("./").trim_start_matches('/') {
            PREFETCH => {
                self.landmark = Landmark::Prefetch(BlobOffset(positive("offset", entry.offset)?));
            }
            NO_PREFETCH => self.landmark = Landmark::NoPrefetch,
            _ => {}
        }
        Ok(())
    }

    fn write(mut self, origin: &Origin, files: &mut IndexFiles<'_>) -> Result<Summary, IndexError> {
        for hidden in [PREFETCH, NO_PREFETCH, crate::estargz::member::NAME] {
            self.unpacker.hide_in_root(hidden.as_bytes());
        }
        let last = self.data.close().map_err(|problem| self.error(problem.into()));
        last?;
        let data_size = self.data.size();
        let table = self.units.finish().map_err(IndexError::Layout)?;
        let unpacked = self.unpacker.finish().map_err(IndexError::Unpack)?;

        let tree = write_tree(&unpacked.tree, data_size, files.tree)?;

        let summary = Summary {
            entries: self.entries,
            inodes: tree.inodes,
            chunks: table.chunk_count() as u64,
            content_bytes: table.content_size(),
            tree_bytes: tree.bytes,
        };
        let end = TableEnd {
            key: origin.key,
            format: origin.format,
            tree_digest: tree.digest,
            blob_size: origin.blob_size,
            units_end: origin.content_end,
            data_size,
            landmark: self.landmark,
            implied: &unpacked.implied,
        };
        table.write(&end, files.table).map_err(IndexError::Table)?;
        Ok(summary)
    }
}

fn kind_of(entry: &TocEntry) -> Result<EntryKind<'_>, EntryProblem> {
    let device = || {
        let part = |field, value| u32::try_from(value).map_err(|_| EntryProblem::Value { field, value });
        Ok::<_, EntryProblem>(Rdev {
            major: part("devMajor", entry.dev_major)?,
            minor: part("devMinor", entry.dev_minor)?,
        })
    };
    Ok(match entry.kind.as_str() {
        "dir" => EntryKind::Directory,
        "reg" => EntryKind::File(positive("size", entry.size)?),
        "symlink" => EntryKind::Symlink(entry.link_name.as_bytes()),
        "hardlink" => EntryKind::HardLink(entry.link_name.as_bytes()),
        "char" => EntryKind::CharDevice(device()?),
        "block" => EntryKind::BlockDevice(device()?),
        "fifo" => EntryKind::Fifo,
        other => return Err(EntryProblem::Type(other.chars().take(40).collect())),
    })
}

fn positive(field: &'static str, value: i64) -> Result<u64, EntryProblem> {
    u64::try_from(value).map_err(|_| EntryProblem::Value { field, value })
}

/// 2^32 - 1 is not an owner: chown(2) takes it for "leave it".
fn owner(field: &'static str, value: i64) -> Result<u32, EntryProblem> {
    u32::try_from(value).ok().filter(|id| *id != u32::MAX).ok_or(EntryProblem::Value { field, value })
}
