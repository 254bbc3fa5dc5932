//! One tar entry, as a test wants to write it.

use super::content::Content;

/// Modification time of all entries that do not say otherwise: 2024-02-29 12:34:56 UTC. Fixed, so that an image
/// built twice has the same digests.
const DEFAULT_MTIME: i64 = 1_709_210_096;

/// A tar entry: name, what it is, and its attributes. Nothing is tidied up when it is written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name as it stands in the archive: may be absolute, start with `./`, or end with `/`.
    pub path: Vec<u8>,
    /// File, directory, link, device or fifo.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time.
    pub mtime: Mtime,
    /// Extended attributes with their full names.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link and its target, verbatim.
    Symlink(Vec<u8>),
    /// A hard link and the name of an earlier entry.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A modification time, seconds since 1970 and nanoseconds on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtime {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after them.
    pub nanoseconds: u32,
}

impl Mtime {
    /// As PAX writes it: a decimal number of seconds.
    pub(super) fn decimal(self) -> String {
        match (self.seconds, self.nanoseconds) {
            (seconds, 0) => seconds.to_string(),
            // -1 s + 0.25 s is -0.75 s: the fraction of a negative decimal counts away from zero.
            (seconds @ ..0, nanoseconds) => {
                format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds)
            }
            (seconds, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
        }
    }
}

impl EntryKind {
    /// The type byte of the tar header.
    pub(super) fn type_flag(&self) -> u8 {
        match self {
            Self::File(_) => b'0',
            Self::HardLink(_) => b'1',
            Self::Symlink(_) => b'2',
            Self::CharDevice { .. } => b'3',
            Self::BlockDevice { .. } => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

impl Entry {
    /// An entry of any kind with mode `0o644` (directories `0o755`), owner root, and the fixed time.
    pub fn new(path: impl AsRef<[u8]>, kind: EntryKind) -> Self {
        let mode = match kind {
            EntryKind::Directory => 0o755,
            EntryKind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        let mtime = Mtime { seconds: DEFAULT_MTIME, nanoseconds: 0 };
        Self { path: path.as_ref().to_vec(), kind, mode, uid: 0, gid: 0, mtime, xattrs: Vec::new() }
    }

    /// A regular file.
    pub fn file(path: impl AsRef<[u8]>, content: impl Into<Content>) -> Self {
        Self::new(path, EntryKind::File(content.into()))
    }

    /// A directory.
    pub fn directory(path: impl AsRef<[u8]>) -> Self {
        Self::new(path, EntryKind::Directory)
    }

    /// A symbolic link.
    pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(path, EntryKind::Symlink(target.as_ref().to_vec()))
    }

    /// A hard link to an earlier entry.
    pub fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(path, EntryKind::HardLink(target.as_ref().to_vec()))
    }

    /// A whiteout: hides `path` of the layers below.
    pub fn whiteout(path: &str) -> Self {
        let (parent, name) = path.rsplit_once('/').map_or(("", path), |(parent, name)| (parent, name));
        let prefix = if parent.is_empty() { String::new() } else { format!("{parent}/") };
        Self::file(format!("{prefix}.wh.{name}"), "")
    }

    /// An opaque marker: hides what the layers below have in `directory`.
    pub fn opaque(directory: &str) -> Self {
        Self::file(format!("{directory}/.wh..wh..opq"), "")
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Sets the modification time.
    #[must_use]
    pub fn mtime(mut self, seconds: i64, nanoseconds: u32) -> Self {
        self.mtime = Mtime { seconds, nanoseconds };
        self
    }

    /// Adds an extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.xattrs.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }
}
