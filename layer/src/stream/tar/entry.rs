//! An entry: what its headers say together, unpacked into the tree.

use peel_erofs::{Metadata, Rdev, Xattr};

use super::super::TarProblem;
use super::file::{File, Gap};
use super::header::{self, Header};
use super::pax::Records;
use super::sparse::Fragment;
use super::{State, StreamError, TarIndexer, number};
use crate::time;
use crate::unpack::{Entry, EntryKind, Placed};

/// What headers before an entry said about it.
#[derive(Debug, Default)]
pub(super) struct Meta {
    records: Records,
    long_name: Vec<u8>,
    long_link: Vec<u8>,
}

impl Meta {
    /// Takes the content of a header of this type.
    pub(super) fn take(&mut self, kind: u8, content: &[u8]) -> Result<(), TarProblem> {
        match kind {
            header::PAX => self.records = Records::parse(content)?,
            header::PAX_GLOBAL => {
                // Read, and then an entry of its own for Go: what came before it is gone.
                Records::parse(content)?;
                *self = Self::default();
            }
            header::LONG_NAME => self.long_name = number::string(content).to_vec(),
            _ => self.long_link = number::string(content).to_vec(),
        }
        Ok(())
    }

    /// Puts what was said in the place of what the entry's own header says. GNU's names win over PAX'.
    pub(super) fn apply(self, header: &mut Header) -> Result<(), TarProblem> {
        self.records.apply(header)?;
        header.records = self.records;
        if !self.long_name.is_empty() {
            header.name = self.long_name;
        }
        if !self.long_link.is_empty() {
            header.link = self.long_link;
        }
        header.settle_kind();
        Ok(())
    }
}

impl TarIndexer {
    /// Unpacks an entry; what follows is its content. `map` says where that belongs in a sparse file.
    pub(super) fn begin(
        &mut self,
        header: &Header,
        map: Option<Vec<Fragment>>,
    ) -> Result<State, StreamError> {
        let state = self.unpack(header, map).map_err(|problem| self.entry_error(header, problem))?;
        self.entries += 1;
        Ok(state.unless_over())
    }

    fn unpack(&mut self, header: &Header, map: Option<Vec<Fragment>>) -> Result<State, TarProblem> {
        if self.entries >= self.limits.entries {
            return Err(TarProblem::TooManyEntries(self.limits.entries));
        }
        let size = header.size()?;
        let gap = Gap::skipping(header.stored);
        let kind = match header.kind {
            header::REGULAR | header::SPARSE => EntryKind::File(size),
            header::DIRECTORY => EntryKind::Directory,
            b'1' => EntryKind::HardLink(&header.link),
            b'2' => EntryKind::Symlink(&header.link),
            b'3' => EntryKind::CharDevice(device(header)?),
            b'4' => EntryKind::BlockDevice(device(header)?),
            b'6' => EntryKind::Fifo,
            other => return Err(TarProblem::Type(other)),
        };
        let entry = Entry { name: &header.name, kind, metadata: metadata(header) };
        let placed = self.unpacker.apply(&entry)?;
        let (EntryKind::File(_), Placed::File(node)) = (kind, placed) else { return Ok(State::Skip(gap)) };
        let block = self.data.open(size, true)?;
        self.unpacker.place(node, block);
        let fragments = map.unwrap_or_else(|| vec![Fragment { at: 0, length: size }]);
        // What the map names and what is stored must be the same bytes. (Their sum is that of pieces of one file.)
        if fragments.iter().map(|fragment| fragment.length).sum::<u64>() != header.stored {
            return Err(TarProblem::Header("its sparse map does not fit the bytes that are stored"));
        }
        if header.stored == 0 {
            return Ok(State::Skip(gap));
        }
        Ok(State::Data(Box::new(File::new(block, fragments, header.stored))))
    }
}

fn device(header: &Header) -> Result<Rdev, TarProblem> {
    const BAD: TarProblem = TarProblem::Header("its device number is not possible");
    let part = |value| u32::try_from(value).map_err(|_| BAD);
    Ok(Rdev { major: part(header.device.0)?, minor: part(header.device.1)? })
}

fn metadata(header: &Header) -> Metadata {
    let xattrs = header.records.xattrs();
    let xattrs = xattrs.map(|(name, value)| Xattr { name: name.to_vec(), value: value.to_vec() }).collect();
    Metadata {
        permissions: u16::try_from(header.mode & 0o7777).unwrap_or_default(),
        uid: owner(header.uid),
        gid: owner(header.gid),
        mtime: time::settable(header.mtime.0, header.mtime.1),
        xattrs,
    }
}

/// lchown(2) takes 32 bits of what Go hands it, and -1 for "leave it", which is then whoever unpacks: root.
fn owner(id: i64) -> u32 {
    let bits = u32::try_from(id & 0xffff_ffff).unwrap_or_default();
    if bits == u32::MAX { 0 } else { bits }
}
