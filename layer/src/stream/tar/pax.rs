//! PAX records (POSIX pax, "pax Extended Header"), as Go's archive/tar reads them.

use std::collections::BTreeMap;

use super::super::TarProblem;
use super::header::Header;
use super::number::{decimal, time};

/// Prefix of a record with an extended attribute; containerd sets those, and not `LIBARCHIVE.xattr.`.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// GNU sparse 0.0 repeats these two, which PAX does not allow; together they are a map of 0.1.
const SPARSE_OFFSET: &[u8] = b"GNU.sparse.offset";
const SPARSE_LENGTH: &[u8] = b"GNU.sparse.numbytes";
/// Map of 0.1.
pub(super) const SPARSE_MAP: &[u8] = b"GNU.sparse.map";

const BAD: TarProblem = TarProblem::Header("its PAX header is damaged");

/// The records of one PAX header; of one name the last.
#[derive(Debug, Clone, Default)]
pub(super) struct Records(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records {
    pub(super) fn parse(mut content: &[u8]) -> Result<Self, TarProblem> {
        let (mut records, mut map, mut numbers) = (BTreeMap::new(), Vec::new(), 0usize);
        while !content.is_empty() {
            let (key, value, rest) = record(content).ok_or(BAD)?;
            content = rest;
            if key != SPARSE_OFFSET && key != SPARSE_LENGTH {
                records.insert(key.to_vec(), value.to_vec());
                continue;
            }
            let expected = if numbers.is_multiple_of(2) { SPARSE_OFFSET } else { SPARSE_LENGTH };
            if key != expected || value.contains(&b',') {
                return Err(BAD);
            }
            if numbers > 0 {
                map.push(b',');
            }
            map.extend_from_slice(value);
            numbers += 1;
        }
        if numbers > 0 {
            records.insert(SPARSE_MAP.to_vec(), map);
        }
        Ok(Self(records))
    }

    /// The value of a record; nothing is the same as empty.
    pub(super) fn get(&self, key: &[u8]) -> &[u8] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Names and values of extended attributes; one may be empty.
    pub(super) fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().filter_map(|(key, value)| Some((key.strip_prefix(XATTR)?, value.as_slice())))
    }

    /// Puts values in the place of the header's.
    pub(super) fn apply(&self, header: &mut Header) -> Result<(), TarProblem> {
        let set = |key: &[u8]| Some(self.get(key)).filter(|value| !value.is_empty());
        let number = |key: &[u8], old: i64| set(key).map_or(Some(old), decimal).ok_or(BAD);
        if let Some(name) = set(b"path") {
            header.name = name.to_vec();
        }
        if let Some(link) = set(b"linkpath") {
            header.link = link.to_vec();
        }
        header.uid = number(b"uid", header.uid)?;
        header.gid = number(b"gid", header.gid)?;
        header.size = number(b"size", header.size)?;
        if let Some(mtime) = set(b"mtime") {
            header.mtime = time(mtime).ok_or(BAD)?;
        }
        for unused in [&b"atime"[..], b"ctime"] {
            if let Some(value) = set(unused) {
                time(value).ok_or(BAD)?;
            }
        }
        Ok(())
    }
}

/// `LENGTH KEY=VALUE\n`: key, value, and what follows.
fn record(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = content.iter().position(|&byte| byte == b' ')?;
    let length = decimal(&content[..blank]).filter(|length| *length >= 5)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= content.len())?;
    let (record, rest) = content.split_at(length);
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    let text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let has_nul = if text { value.contains(&0) } else { key.contains(&0) };
    (!key.is_empty() && !has_nul).then_some((key, value, rest))
}
