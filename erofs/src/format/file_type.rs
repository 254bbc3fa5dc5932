//! The type of a node, in its two encodings.

use crate::NodeKind;

/// Mask of the type bits in `st_mode`.
const TYPE_MASK: u16 = 0o170_000;

/// Type of a node; the numbers are those of directory entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// Regular file.
    File = 1,
    /// Directory.
    Directory = 2,
    /// Character device.
    CharDevice = 3,
    /// Block device.
    BlockDevice = 4,
    /// Named pipe.
    Fifo = 5,
    /// Unix socket.
    Socket = 6,
    /// Symbolic link.
    Symlink = 7,
}

impl FileType {
    /// The type bits of `st_mode`.
    #[must_use]
    pub fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// Type in an `st_mode`, if it is one.
    #[must_use]
    pub fn from_mode(mode: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.mode_bits() == mode & TYPE_MASK)
    }

    /// Type in a directory entry, if it is one.
    pub(crate) fn from_dirent(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == code)
    }

    const ALL: [Self; 7] = [
        Self::File,
        Self::Directory,
        Self::CharDevice,
        Self::BlockDevice,
        Self::Fifo,
        Self::Socket,
        Self::Symlink,
    ];
}

impl From<&NodeKind> for FileType {
    fn from(kind: &NodeKind) -> Self {
        match kind {
            NodeKind::Directory => Self::Directory,
            NodeKind::File { .. } => Self::File,
            NodeKind::Symlink(_) => Self::Symlink,
            NodeKind::CharDevice(_) => Self::CharDevice,
            NodeKind::BlockDevice(_) => Self::BlockDevice,
            NodeKind::Fifo => Self::Fifo,
            NodeKind::Socket => Self::Socket,
        }
    }
}
