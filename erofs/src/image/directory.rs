//! Directories: lookup by bisection over blocks, then over the entries of one; listing from any position.

use std::cmp::Ordering;

use zerocopy::FromBytes;

use super::{Inode, ReadError, View};
use crate::{
    FileType,
    format::{BLOCK, DIRENT_SIZE, Dirent, Nid},
    tree::NAME_MAX,
};

const CORRUPT: &str = "has a directory block that makes no sense";

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// 1 to 255 bytes without slash and NUL; may be `.` or `..`.
    pub name: &'a [u8],
    /// Whose name.
    pub nid: Nid,
    /// What that is, as the directory says; the inode decides.
    pub file_type: FileType,
    /// Where [`Image::read_dir`](super::Image::read_dir) goes on behind this entry. Never 0.
    pub next: u64,
}

/// One block of a directory.
#[derive(Clone, Copy)]
struct Block<'a> {
    index: u64,
    bytes: &'a [u8],
    dirents: &'a [Dirent],
}

impl<'a> Block<'a> {
    fn parse(view: View<'a>, directory: &Inode, index: u64) -> Result<Self, ReadError> {
        let bytes = directory.content_block(view, index)?;
        let dirents = Dirent::ref_from_prefix(bytes)
            .ok()
            .map(|(first, _)| usize::from(first.name_offset.get()))
            .and_then(|end| bytes.get(..end))
            .and_then(|bytes| <[Dirent]>::ref_from_bytes(bytes).ok())
            .filter(|dirents| !dirents.is_empty())
            .ok_or_else(|| directory.corrupt(CORRUPT))?;
        Ok(Self { index, bytes, dirents })
    }

    /// Name `number` as far as the offsets tell; nothing if they make no sense.
    fn name(&self, number: usize) -> Option<&'a [u8]> {
        let start = usize::from(self.dirents.get(number)?.name_offset.get());
        let Some(next) = self.dirents.get(number + 1) else {
            let rest = self.bytes.get(start..)?;
            return rest.split(|&byte| byte == 0).next();
        };
        self.bytes.get(start..usize::from(next.name_offset.get()))
    }

    fn entry(&self, number: usize) -> Option<DirEntry<'a>> {
        let dirent = self.dirents.get(number)?;
        let name = self.name(number)?;
        let sound =
            (1..=NAME_MAX).contains(&name.len()) && !name.iter().any(|&byte| byte == b'/' || byte == 0);
        let next = if number + 1 < self.dirents.len() {
            self.index * BLOCK + ((number + 1) * DIRENT_SIZE) as u64
        } else {
            (self.index + 1) * BLOCK
        };
        let file_type = FileType::from_dirent(dirent.file_type)?;
        sound.then_some(DirEntry { name, nid: Nid(dirent.nid.get()), file_type, next })
    }

    /// Number of the entry with that name, if any; nothing at all if the offsets make no sense.
    fn find(&self, wanted: &[u8]) -> Option<Option<usize>> {
        let (mut low, mut high) = (0, self.dirents.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name(middle)?.cmp(wanted) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(Some(middle)),
                Ordering::Greater => high = middle,
            }
        }
        Some(None)
    }
}

pub(super) fn lookup<'a>(
    view: View<'a>,
    directory: &Inode,
    wanted: &[u8],
) -> Result<Option<DirEntry<'a>>, ReadError> {
    check_type(directory)?;
    let corrupt = || directory.corrupt(CORRUPT);
    // The last block whose first name is not behind the wanted one.
    let mut candidate = None;
    let (mut low, mut high) = (0, directory.size.div_ceil(BLOCK));
    while low < high {
        let middle = low + (high - low) / 2;
        let block = Block::parse(view, directory, middle)?;
        if block.name(0).ok_or_else(corrupt)? <= wanted {
            candidate = Some(block);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let Some(block) = candidate else { return Ok(None) };
    match block.find(wanted).ok_or_else(corrupt)? {
        Some(number) => block.entry(number).map(Some).ok_or_else(corrupt),
        None => Ok(None),
    }
}

fn check_type(directory: &Inode) -> Result<(), ReadError> {
    match directory.file_type() {
        FileType::Directory => Ok(()),
        _ => Err(ReadError::NotADirectory(directory.nid)),
    }
}

/// Iterator over a directory, from [`Image::read_dir`](super::Image::read_dir). Ends at its first error.
#[derive(Clone)]
pub struct ReadDir<'a> {
    view: View<'a>,
    directory: Inode,
    /// Byte in the directory: block, and dirent within.
    position: u64,
    block: Option<Block<'a>>,
}

impl<'a> ReadDir<'a> {
    pub(super) fn new(view: View<'a>, directory: &Inode, from: u64) -> Result<Self, ReadError> {
        check_type(directory)?;
        Ok(Self { view, directory: *directory, position: from, block: None })
    }

    /// The block at the current position, parsed once.
    fn block(&mut self) -> Result<Block<'a>, ReadError> {
        let index = self.position / BLOCK;
        if let Some(block) = self.block.filter(|it| it.index == index) {
            return Ok(block);
        }
        let block = Block::parse(self.view, &self.directory, index)?;
        self.block = Some(block);
        Ok(block)
    }

    fn advance(&mut self) -> Result<Option<DirEntry<'a>>, ReadError> {
        // Each turn ends or goes to a later block, of which the image has so many.
        while self.position < self.directory.size {
            let block = self.block()?;
            let within = usize::try_from(self.position % BLOCK).unwrap_or(usize::MAX);
            let number = within.div_ceil(DIRENT_SIZE);
            if number < block.dirents.len() {
                let entry = block.entry(number).ok_or_else(|| self.directory.corrupt(CORRUPT))?;
                self.position = entry.next;
                return Ok(Some(entry));
            }
            self.position = (block.index + 1) * BLOCK;
        }
        Ok(None)
    }
}

impl<'a> Iterator for ReadDir<'a> {
    type Item = Result<DirEntry<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            self.position = u64::MAX;
        }
        result.transpose()
    }
}

impl std::fmt::Debug for ReadDir<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadDir({} at {})", self.directory.nid, self.position)
    }
}
