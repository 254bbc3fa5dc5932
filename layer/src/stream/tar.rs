//! Reading a tar as it comes, and indexing it.
//!
//! The reader follows Go's archive/tar, for that decides what containerd sees: ustar, the old V7 headers, GNU long names
//! and base-256 numbers, PAX records, sparse files in the four forms that Go reads. So a header that Go refuses is
//! refused, a second PAX header replaces the first, a global one is skipped, links and directories have no bytes
//! whatever size they claim, and the tar ends at two blocks of zeros or where its bytes end between two entries. Two
//! things differ: an old GNU sparse file is a file (containerd knows no such type and fails), and a global header
//! does not replace a file of its name.
//!
//! A file's bytes go to the [`DataSink`] as they pass, each MiB hashed for itself; what is held are nodes of the tree and
//! a row for each chunk.

mod entry;
mod file;
mod header;
mod number;
mod pax;
mod sparse;

use std::io;

use super::{StreamError, TarProblem};
use crate::data::DataLayout;
use crate::index::LargeFile;
use crate::unpack::{Unpacked, Unpacker};
use crate::{ChunkDigest, DataOffset, Limits};
use entry::Meta;
use file::{File, Gap};
use header::Header;
use sparse::{MapReader, NewMap};

/// Bytes of a tar's block.
const BLOCK: usize = 512;
/// Longest content of a header that goes before another, and of a sparse map (Go's `maxSpecialFileSize`).
const SPECIAL_MAX: u64 = 1 << 20;

/// Takes the bytes of files.
pub trait DataSink {
    /// Stores bytes at their place in the data file. Places rise; what is never written is zeros.
    ///
    /// # Errors
    /// Whatever; the layer fails with it.
    fn write(&mut self, at: DataOffset, bytes: &[u8]) -> io::Result<()>;
}

/// A piece of a file, as it lies in the tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) data: DataOffset,
    /// Where it begins in the tar.
    pub(super) stream: u64,
    /// 1 byte to [`super::CHUNK`].
    pub(super) length: u32,
    pub(super) digest: ChunkDigest,
}

/// A tar that was read to its end.
#[derive(Debug)]
pub struct TarIndexed {
    pub(super) unpacked: Unpacked,
    pub(super) pieces: Vec<Piece>,
    pub(super) files: Vec<LargeFile>,
    pub(super) data_size: DataOffset,
    pub(super) entries: u64,
}

impl TarIndexed {
    /// Bytes of the data file, a multiple of 4,096.
    #[must_use]
    pub fn data_size(&self) -> DataOffset {
        self.data_size
    }

    /// Entries of the tar.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// Indexes a tar. See the [module](self).
#[derive(Debug)]
pub struct TarIndexer {
    limits: Limits,
    unpacker: Unpacker,
    data: DataLayout,
    /// Rows of the table, but for their units: those are known when the blob has ended.
    pieces: Vec<Piece>,
    files: Vec<LargeFile>,
    entries: u64,
    /// Bytes of the tar before the next.
    at: u64,
    /// The block that is being filled, in states that want one.
    block: Box<[u8; BLOCK]>,
    filled: usize,
    state: State,
    meta: Meta,
}

#[derive(Debug)]
enum State {
    /// A header is to come.
    Header,
    /// A block of zeros has come: another one ends the tar.
    Zeros,
    /// Content of a header that tells about the next.
    Special { kind: u8, size: u64, content: Vec<u8> },
    /// Further blocks of a sparse file's map.
    Map { header: Box<Header>, reader: MapReader },
    /// Bytes of a file.
    Data(Box<File>),
    /// Bytes that nobody wants.
    Skip(Gap),
    /// Whatever follows is not part of the archive.
    End,
}

impl TarIndexer {
    /// For one tar.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            unpacker: Unpacker::new(limits),
            data: DataLayout::default(),
            pieces: Vec::new(),
            files: Vec::new(),
            entries: 0,
            at: 0,
            block: Box::new([0; BLOCK]),
            filled: 0,
            state: State::Header,
            meta: Meta::default(),
        }
    }

    /// Takes the next bytes of the tar, cut anywhere.
    ///
    /// # Errors
    /// [`StreamError`]; the indexer is of no use then.
    pub fn push(&mut self, mut tar: &[u8], sink: &mut dyn DataSink) -> Result<(), StreamError> {
        while !tar.is_empty() {
            let taken = match &mut self.state {
                State::Header | State::Zeros | State::Map { .. } => self.fill_block(tar)?,
                State::Special { kind, size, content } => {
                    let left = *size - content.len() as u64;
                    let taken = clamp(left, tar.len());
                    content.extend_from_slice(&tar[..taken]);
                    self.at += taken as u64;
                    if taken as u64 == left {
                        let (kind, content) = (*kind, std::mem::take(content));
                        self.state = self.end_special(kind, &content)?;
                    }
                    taken
                }
                State::Data(file) => {
                    let taken = file.take(tar, self.at, &mut self.pieces, sink)?;
                    self.at += taken as u64;
                    if file.is_over() {
                        self.files.extend(file.large());
                        self.state = State::Skip(file.padding()).unless_over();
                    }
                    self.check_chunks()?;
                    taken
                }
                State::Skip(gap) => {
                    let taken = gap.take(tar.len());
                    self.at += taken as u64;
                    if gap.is_over() {
                        self.state = State::Header;
                    }
                    taken
                }
                State::End => {
                    self.at += tar.len() as u64;
                    return Ok(());
                }
            };
            tar = tar.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// The tree and the chunks, once the tar has ended.
    ///
    /// # Errors
    /// [`StreamError`] if it cannot end here, or is too much as a whole.
    pub fn finish(self) -> Result<TarIndexed, StreamError> {
        let at = self.at;
        let whole = |problem| StreamError::Tar { at, problem };
        let missing = match &self.state {
            State::Header | State::Zeros if self.filled > 0 => Some("a header"),
            State::Special { .. } => Some("a header"),
            State::Map { .. } => Some("a sparse file's map"),
            State::Data(_) => Some("a file"),
            State::Skip(gap) if !gap.is_padding() => Some("an entry"),
            _ => None,
        };
        if let Some(what) = missing {
            return Err(whole(TarProblem::Truncated(what)));
        }
        let data_size = self.data.size();
        let unpacked = self.unpacker.finish().map_err(|problem| whole(problem.into()))?;
        Ok(TarIndexed { unpacked, pieces: self.pieces, files: self.files, data_size, entries: self.entries })
    }

    fn fill_block(&mut self, tar: &[u8]) -> Result<usize, StreamError> {
        let length = tar.len().min(BLOCK - self.filled);
        self.block[self.filled..self.filled + length].copy_from_slice(&tar[..length]);
        self.filled += length;
        self.at += length as u64;
        if self.filled == BLOCK {
            self.filled = 0;
            self.take_block()?;
        }
        Ok(length)
    }

    fn take_block(&mut self) -> Result<(), StreamError> {
        let zeros = self.block.iter().all(|&byte| byte == 0);
        let state = std::mem::replace(&mut self.state, State::End);
        self.state = match state {
            State::Header if zeros => State::Zeros,
            State::Zeros if zeros => State::End,
            State::Zeros => return Err(self.error(TarProblem::Header("a block of zeros, and then none"))),
            State::Map { mut header, mut reader } => {
                let map = reader.block(&self.block, &mut header);
                match map.map_err(|problem| self.entry_error(&header, problem))? {
                    Some(map) => self.begin(&header, Some(map))?,
                    None => State::Map { header, reader },
                }
            }
            _ => {
                let header = Header::parse(&self.block).map_err(|problem| self.error(problem))?;
                self.take_header(header)?
            }
        };
        Ok(())
    }

    fn take_header(&mut self, header: Header) -> Result<State, StreamError> {
        if !header.is_special() {
            return self.take_entry(header);
        }
        match header.size().map_err(|problem| self.error(problem))? {
            0 => self.end_special(header.kind, &[]),
            size if size <= SPECIAL_MAX => {
                Ok(State::Special { kind: header.kind, size, content: Vec::new() })
            }
            _ => Err(self.error(TarProblem::Header("a header's content is longer than 1 MiB"))),
        }
    }

    fn end_special(&mut self, kind: u8, content: &[u8]) -> Result<State, StreamError> {
        self.meta.take(kind, content).map_err(|problem| self.error(problem))?;
        Ok(State::Skip(Gap::padding(content.len() as u64)).unless_over())
    }

    /// An entry's own header: what went before it is merged, and a map is looked for.
    fn take_entry(&mut self, mut header: Header) -> Result<State, StreamError> {
        let meta = std::mem::take(&mut self.meta);
        let map = meta.apply(&mut header).and_then(|()| sparse::look(&mut header, &self.block));
        match map.map_err(|problem| self.entry_error(&header, problem))? {
            NewMap::None => self.begin(&header, None),
            NewMap::Complete(map) => self.begin(&header, Some(map)),
            NewMap::Follows(reader) => Ok(State::Map { header: Box::new(header), reader }),
        }
    }

    fn check_chunks(&self) -> Result<(), StreamError> {
        if self.pieces.len() as u64 > self.limits.chunks {
            return Err(self.error(TarProblem::TooManyChunks(self.limits.chunks)));
        }
        Ok(())
    }

    fn error(&self, problem: TarProblem) -> StreamError {
        StreamError::Tar { at: self.at, problem }
    }

    fn entry_error(&self, header: &Header, problem: TarProblem) -> StreamError {
        let name: Vec<u8> = header.name.iter().copied().take(200).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        StreamError::Entry { number: self.entries + 1, name, problem }
    }
}

impl State {
    fn unless_over(self) -> Self {
        match self {
            Self::Skip(gap) if gap.is_over() => Self::Header,
            state => state,
        }
    }
}

/// The smaller of the two.
fn clamp(left: u64, length: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(length)
}
