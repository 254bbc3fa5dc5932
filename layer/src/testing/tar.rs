//! Tar entries and their headers: ustar (POSIX), with a PAX header where ustar does not suffice.

use std::fmt::Write as _;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// Directory.
    Directory,
    /// Regular file with its bytes.
    Regular(Vec<u8>),
    /// Symlink with its target.
    Symlink(String),
    /// Hard link with the path of its target.
    HardLink(String),
    /// Character device: major, minor.
    CharDevice(u32, u32),
    /// Block device: major, minor.
    BlockDevice(u32, u32),
    /// Named pipe.
    Fifo,
}

/// One entry of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry {
    /// Path as it shall stand in the tar.
    pub name: String,
    /// What it is.
    pub file: File,
    /// Permissions, setuid, setgid, sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Names and values.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl TarEntry {
    /// Of root, with the usual mode, from November 2023.
    #[must_use]
    pub fn new(name: &str, file: File) -> Self {
        let mode = match file {
            File::Directory => 0o755,
            File::Symlink(_) => 0o777,
            _ => 0o644,
        };
        let (uid, gid, mtime) = (0, 0, 1_700_000_000);
        Self { name: name.to_owned(), file, mode, uid, gid, mtime, xattrs: Vec::new() }
    }

    /// A directory.
    #[must_use]
    pub fn directory(name: &str) -> Self {
        Self::new(name, File::Directory)
    }

    /// A regular file.
    #[must_use]
    pub fn file(name: &str, content: &[u8]) -> Self {
        Self::new(name, File::Regular(content.to_vec()))
    }

    /// A symlink.
    #[must_use]
    pub fn symlink(name: &str, target: &str) -> Self {
        Self::new(name, File::Symlink(target.to_owned()))
    }

    /// A hard link.
    #[must_use]
    pub fn hard_link(name: &str, target: &str) -> Self {
        Self::new(name, File::HardLink(target.to_owned()))
    }

    /// With this mode.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// With this owner.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }

    /// With this time.
    #[must_use]
    pub fn mtime(self, mtime: u32) -> Self {
        Self { mtime, ..self }
    }

    /// With one more xattr.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs.push((name.to_owned(), value.to_vec()));
        self
    }

    /// The bytes of a regular file.
    pub(super) fn content(&self) -> &[u8] {
        match &self.file {
            File::Regular(content) => content,
            _ => &[],
        }
    }

    /// The target of a link.
    pub(super) fn link_name(&self) -> &str {
        match &self.file {
            File::Symlink(target) | File::HardLink(target) => target,
            _ => "",
        }
    }

    /// Everything before the content.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if self.name.len() > 100 || !self.name.is_ascii() {
            record(&mut records, "path", self.name.as_bytes());
        }
        if self.link_name().len() > 100 || !self.link_name().is_ascii() {
            record(&mut records, "linkpath", self.link_name().as_bytes());
        }
        for (name, value) in &self.xattrs {
            record(&mut records, &format!("SCHILY.xattr.{name}"), value);
        }
        let (kind, (major, minor)) = match self.file {
            File::Regular(_) => (b'0', (0, 0)),
            File::HardLink(_) => (b'1', (0, 0)),
            File::Symlink(_) => (b'2', (0, 0)),
            File::CharDevice(major, minor) => (b'3', (major, minor)),
            File::BlockDevice(major, minor) => (b'4', (major, minor)),
            File::Directory => (b'5', (0, 0)),
            File::Fifo => (b'6', (0, 0)),
        };
        let mut out = Vec::new();
        if !records.is_empty() {
            let pax = Self::new("PaxHeaders.0/entry", File::Fifo);
            out.extend(pax.ustar(b'x', records.len(), 0, 0));
            out.extend(&records);
            pad(&mut out);
        }
        out.extend(self.ustar(kind, self.content().len(), major, minor));
        out
    }

    fn ustar(&self, kind: u8, size: usize, major: u32, minor: u32) -> [u8; 512] {
        let mut header = [0; 512];
        let mut put = |at: usize, max: usize, value: &[u8]| {
            let value = &value[..value.len().min(max)];
            header[at..at + value.len()].copy_from_slice(value);
        };
        put(0, 100, self.name.as_bytes());
        put(100, 8, format!("{:07o}", self.mode).as_bytes());
        put(108, 8, format!("{:07o}", self.uid).as_bytes());
        put(116, 8, format!("{:07o}", self.gid).as_bytes());
        put(124, 12, format!("{size:011o}").as_bytes());
        put(136, 12, format!("{:011o}", self.mtime).as_bytes());
        put(156, 1, &[kind]);
        put(157, 100, self.link_name().as_bytes());
        put(257, 8, b"ustar\x0000");
        put(329, 8, format!("{major:07o}").as_bytes());
        put(337, 8, format!("{minor:07o}").as_bytes());
        seal(&mut header);
        header
    }
}

/// Makes the checksum of a header right, which is the first 512 bytes.
pub fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().take(512).map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A whole tar of these entries.
#[must_use]
pub fn tar(entries: &[TarEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(entry.header());
        bytes.extend(entry.content());
        pad(&mut bytes);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Fills up to the next block of 512.
pub(super) fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut start = String::new();
    let _ = write!(start, "{length} {key}=");
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}
