//! Sparse files: where their bytes belong (GNU tar manual, "Storing Sparse Files"; Go's reader.go). What the map does not
//! name is zeros.
//!
//! Old GNU headers hold four pieces and may be followed by blocks with more; PAX 0.0 and 0.1 have the map in their
//! records; PAX 1.0 has it in front of the file's bytes.

use super::super::TarProblem;
use super::header::{Header, SPARSE};
use super::number::{decimal, numeric};
use super::{BLOCK, SPECIAL_MAX, pax};

const BAD: TarProblem = TarProblem::Header("its sparse map is damaged");
const TOO_LONG: TarProblem = TarProblem::Header("its sparse map is longer than 1 MiB");
/// Bytes of an entry in an old GNU map: two numbers.
const ENTRY: usize = 24;

/// A run of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) at: u64,
    pub(super) length: u64,
}

/// What a header says about a map.
#[derive(Debug)]
pub(super) enum NewMap {
    /// Not a sparse file.
    None,
    Complete(Vec<Fragment>),
    /// More blocks are to be read.
    Follows(MapReader),
}

/// Looks for a map and gives the header the size, and maybe the name, of the whole file.
pub(super) fn look(header: &mut Header, block: &[u8; BLOCK]) -> Result<NewMap, TarProblem> {
    header.stored = if header.has_content() { header.size()? } else { 0 };
    if header.kind == SPARSE {
        return old_gnu(header, block);
    }
    let record = |key: &[u8]| header.records.get(key);
    let in_content = match (record(b"GNU.sparse.major"), record(b"GNU.sparse.minor")) {
        (b"0", b"0" | b"1") => false,
        (b"1", b"0") => true,
        // Versions were not always named.
        (b"", b"") if !record(pax::SPARSE_MAP).is_empty() => false,
        _ => return Ok(NewMap::None),
    };
    let size = match (record(b"GNU.sparse.size"), record(b"GNU.sparse.realsize")) {
        (b"", b"") => header.size,
        (b"", size) | (size, _) => decimal(size).ok_or(BAD)?,
    };
    let name = record(b"GNU.sparse.name").to_vec();
    let map = if in_content { None } else { Some(in_records(header)?) };
    header.size = size;
    if !name.is_empty() {
        header.name = name;
    }
    if !header.has_content() {
        return Err(BAD);
    }
    Ok(match map {
        Some(map) => NewMap::Complete(check(&map, header.size)?),
        None => NewMap::Follows(MapReader::InContent(Lines::default())),
    })
}

/// `offset,length,offset,length…`, twice as many as another record says.
fn in_records(header: &Header) -> Result<Vec<(i64, i64)>, TarProblem> {
    let count = decimal(header.records.get(b"GNU.sparse.numblocks")).ok_or(BAD)?;
    let text = header.records.get(pax::SPARSE_MAP);
    let numbers: Vec<&[u8]> =
        if text.is_empty() { Vec::new() } else { text.split(|&byte| byte == b',').collect() };
    if i64::try_from(numbers.len()).ok() != count.checked_mul(2) {
        return Err(BAD);
    }
    pairs(&numbers)
}

fn pairs(numbers: &[&[u8]]) -> Result<Vec<(i64, i64)>, TarProblem> {
    let pair = |pair: &[&[u8]]| decimal(pair[0]).zip(decimal(pair[1])).ok_or(BAD);
    numbers.chunks_exact(2).map(pair).collect()
}

fn old_gnu(header: &mut Header, block: &[u8; BLOCK]) -> Result<NewMap, TarProblem> {
    if !header.is_gnu {
        return Err(TarProblem::Header("a sparse file, but not in GNU's form"));
    }
    header.size = numeric(&block[483..495])?;
    let mut map = Vec::new();
    old_entries(&block[386..482], &mut map)?;
    Ok(match block[482] {
        0 => NewMap::Complete(check(&map, header.size)?),
        _ => NewMap::Follows(MapReader::OldGnu(map)),
    })
}

/// Entries up to the first that is empty.
fn old_entries(bytes: &[u8], map: &mut Vec<(i64, i64)>) -> Result<(), TarProblem> {
    for entry in bytes.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0) {
        map.push((numeric(&entry[..12])?, numeric(&entry[12..])?));
    }
    Ok(())
}

/// Reads the blocks of a map.
#[derive(Debug)]
pub(super) enum MapReader {
    /// Blocks between an old GNU header and the content, of which they are no part.
    OldGnu(Vec<(i64, i64)>),
    /// At the start of the content.
    InContent(Lines),
}

impl MapReader {
    /// Takes the next block; gives the map when it is complete.
    pub(super) fn block(
        &mut self,
        block: &[u8; BLOCK],
        header: &mut Header,
    ) -> Result<Option<Vec<Fragment>>, TarProblem> {
        let map = match self {
            Self::OldGnu(map) => {
                old_entries(&block[..504], map)?;
                if map.len() as u64 > SPECIAL_MAX / ENTRY as u64 {
                    return Err(TOO_LONG);
                }
                if block[504] != 0 {
                    return Ok(None);
                }
                std::mem::take(map)
            }
            Self::InContent(lines) => {
                header.stored = header.stored.checked_sub(BLOCK as u64).ok_or(BAD)?;
                let Some(map) = lines.take(block)? else { return Ok(None) };
                map
            }
        };
        check(&map, header.size).map(Some)
    }
}

/// Lines with a number each: how many pieces there are, then offset and length of each. Padded to a block.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: Vec<u8>,
    complete: u64,
    /// How many there must be, once the first is known.
    wanted: Option<u64>,
}

impl Lines {
    fn take(&mut self, block: &[u8; BLOCK]) -> Result<Option<Vec<(i64, i64)>>, TarProblem> {
        self.text.extend_from_slice(block);
        self.complete += block.iter().filter(|&&byte| byte == b'\n').count() as u64;
        if self.wanted.is_none() && self.complete > 0 {
            let first = self.text.split(|&byte| byte == b'\n').next().and_then(decimal);
            let pieces = first.and_then(|pieces| u64::try_from(pieces).ok()).ok_or(BAD)?;
            self.wanted = Some(pieces.checked_mul(2).and_then(|lines| lines.checked_add(1)).ok_or(BAD)?);
        }
        match self.wanted {
            Some(wanted) if wanted <= self.complete => {
                let lines = self.text.split(|&byte| byte == b'\n').skip(1);
                let numbers: Vec<_> = lines.take(usize::try_from(wanted - 1).unwrap_or(usize::MAX)).collect();
                pairs(&numbers).map(Some)
            }
            _ if self.text.len() as u64 >= SPECIAL_MAX => Err(TOO_LONG),
            _ => Ok(None),
        }
    }
}

/// The pieces that have bytes, if they rise and stay inside the file.
fn check(map: &[(i64, i64)], size: i64) -> Result<Vec<Fragment>, TarProblem> {
    let (size, mut end) = (u64::try_from(size).map_err(|_| BAD)?, 0);
    let mut fragments = Vec::with_capacity(map.len());
    for &(at, length) in map {
        let (at, length) = u64::try_from(at).ok().zip(u64::try_from(length).ok()).ok_or(BAD)?;
        if at < end {
            return Err(BAD);
        }
        // Two positive i64 do not overflow.
        end = at + length;
        if end > size {
            return Err(BAD);
        }
        if length > 0 {
            fragments.push(Fragment { at, length });
        }
    }
    Ok(fragments)
}
