//! A tar writer that says exactly what it is told.
//!
//! Images for the tests hold what no careful packer writes: absolute names, `./` names, the same name twice, a
//! hard link with a mode of its own. Ordinary tar libraries tidy such things up, so this one is our own. It
//! writes ustar headers, and a PAX header before an entry that ustar cannot express: long or non-ASCII names,
//! big owners, sub-second times, xattrs (`SCHILY.xattr.*`, which containerd and eStargz converters read), sparse files.

use std::io::{self, Write};

use super::content::Content;
use super::entry::{Entry, EntryKind};

/// Tar's unit: headers are one block, payloads are padded to whole blocks.
const BLOCK: usize = 512;
/// Largest number that fits the 7 octal digits of ustar's owner and device fields.
const OCTAL_7: u64 = 0o7_777_777;
/// Largest number that fits the 11 octal digits of ustar's size and time fields.
const OCTAL_11: u64 = 0o77_777_777_777;

/// Writes `entries` in their order, then the two zero blocks that end an archive.
///
/// # Errors
/// What reading an entry's content or writing to `out` answers.
pub(super) fn write_archive(entries: &[Entry], out: &mut dyn Write) -> io::Result<()> {
    for entry in entries {
        write_entry(entry, out)?;
    }
    out.write_all(&[0; 2 * BLOCK])
}

/// Writes one entry: PAX header when needed, ustar header, payload, padding.
fn write_entry(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    write_headers(entry, out)?;
    if let EntryKind::File(content) = &entry.kind
        && content.stored() > 0
    {
        content.copy_to(out)?;
        write_padding(content.len(), out)?;
    }
    Ok(())
}

/// Writes the headers of an entry; its payload, if any, must follow.
fn write_headers(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    let records = pax_records(entry);
    if !records.is_empty() {
        let mut header = Header::new(b'x', b"PaxHeaders.0/entry");
        header.octal(124..136, records.len() as u64);
        header.write(out)?;
        out.write_all(&records)?;
        write_padding(records.len() as u64, out)?;
    }
    let size = if let EntryKind::File(content) = &entry.kind { content.stored() } else { 0 };
    let mut header = Header::new(entry.kind.type_flag(), &entry.path);
    header.octal(100..108, u64::from(entry.mode));
    header.octal(108..116, entry.uid.min(OCTAL_7));
    header.octal(116..124, entry.gid.min(OCTAL_7));
    header.octal(124..136, size.min(OCTAL_11));
    header.octal(136..148, u64::try_from(entry.mtime.seconds).unwrap_or(0).min(OCTAL_11));
    match &entry.kind {
        EntryKind::Symlink(target) | EntryKind::HardLink(target) => header.text(157..257, target),
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            header.octal(329..337, u64::from(*major));
            header.octal(337..345, u64::from(*minor));
        }
        EntryKind::File(_) | EntryKind::Directory | EntryKind::Fifo => {}
    }
    header.write(out)
}

/// The PAX records of what ustar cannot hold, empty when it can hold all.
fn pax_records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let long = |text: &[u8]| text.len() > 100 || !text.is_ascii();
    if long(&entry.path) {
        record(&mut records, b"path", &entry.path);
    }
    if let EntryKind::Symlink(target) | EntryKind::HardLink(target) = &entry.kind
        && long(target)
    {
        record(&mut records, b"linkpath", target);
    }
    for (key, owner) in [("uid", entry.uid), ("gid", entry.gid)] {
        if owner > OCTAL_7 {
            record(&mut records, key.as_bytes(), owner.to_string().as_bytes());
        }
    }
    if let EntryKind::File(content) = &entry.kind
        && content.stored() > OCTAL_11
    {
        record(&mut records, b"size", content.len().to_string().as_bytes());
    }
    if let EntryKind::File(Content::Hole(length)) = &entry.kind {
        // GNU's sparse format 0.1, with a map of no pieces.
        record(&mut records, b"GNU.sparse.major", b"0");
        record(&mut records, b"GNU.sparse.minor", b"1");
        record(&mut records, b"GNU.sparse.size", length.to_string().as_bytes());
        record(&mut records, b"GNU.sparse.numblocks", b"0");
    }
    let time = &entry.mtime;
    if time.nanoseconds != 0 || time.seconds < 0 {
        record(&mut records, b"mtime", time.decimal().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Appends `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits too.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn write_padding(payload: u64, out: &mut dyn Write) -> io::Result<()> {
    let padding = payload.next_multiple_of(BLOCK as u64) - payload;
    io::copy(&mut io::Read::take(io::repeat(0), padding), out).map(drop)
}

/// One ustar header block.
struct Header([u8; BLOCK]);

impl Header {
    fn new(type_flag: u8, name: &[u8]) -> Self {
        let mut header = Self([0; BLOCK]);
        header.text(0..100, name);
        header.octal(100..108, 0o644);
        header.octal(108..116, 0);
        header.octal(116..124, 0);
        header.octal(136..148, 0);
        header.0[156] = type_flag;
        header.text(257..265, b"ustar\x0000");
        header
    }

    /// Stores as much of `value` as the field holds; a PAX record carries the rest.
    fn text(&mut self, field: std::ops::Range<usize>, value: &[u8]) {
        for (slot, byte) in self.0[field].iter_mut().zip(value) {
            // ustar names are ASCII: readers that look at this field before the PAX record must not stumble.
            *slot = if byte.is_ascii() { *byte } else { b'_' };
        }
    }

    /// Stores an octal number with leading zeros and a closing NUL.
    fn octal(&mut self, field: std::ops::Range<usize>, value: u64) {
        let digits = field.len() - 1;
        let text = format!("{value:0digits$o}\0");
        self.0[field].copy_from_slice(text.as_bytes());
    }

    fn write(mut self, out: &mut dyn Write) -> io::Result<()> {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.write_all(&self.0)
    }
}
