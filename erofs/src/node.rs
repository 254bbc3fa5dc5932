//! What a node of a tree is and carries: the values that the writer puts into an inode and the reader takes out.

use crate::format::{XATTR_VALUE_MAX, split_name};

/// A point in time as an inode holds it: before 1970 is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC.
    pub seconds: i64,
    /// Nanoseconds to add, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// An extended attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// Full name, such as `security.capability`; [`Xattr::is_storable`] tells what the format can hold.
    pub name: Vec<u8>,
    /// Value as `getxattr(2)` returns it, at most 65,535 bytes.
    pub value: Vec<u8>,
}

impl Xattr {
    /// Whether an image can hold it: a name of `user.`, `trusted.`, `security.` (and up to 255 bytes more) or one of
    /// the two POSIX ACL names, and a value of at most 65,535 bytes.
    #[must_use]
    pub fn is_storable(&self) -> bool {
        split_name(&self.name).is_some() && self.value.len() <= XATTR_VALUE_MAX
    }
}

/// What every node carries beside its kind. Access and change time do not exist apart from `mtime`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The low twelve bits of `st_mode`: permissions, setuid, setgid, sticky.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Extended attributes in the order in which `listxattr(2)` shows them; no name twice.
    pub xattrs: Vec<Xattr>,
}

/// Number of a device node: 12 bits of major and 20 bits of minor, as the kernel has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rdev {
    /// Driver, at most 4,095.
    pub major: u32,
    /// Device of that driver, at most 1,048,575.
    pub minor: u32,
}

impl Rdev {
    /// Character device of this number = overlayfs' whiteout.
    pub const WHITEOUT: Self = Self { major: 0, minor: 0 };

    /// Whether both parts fit the kernel's `dev_t`.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.major <= 0xfff && self.minor <= 0xf_ffff
    }

    /// The kernel's 32-bit encoding (`new_encode_dev`), also what FUSE's `rdev` is.
    #[must_use]
    pub fn encode(self) -> u32 {
        (self.minor & 0xff) | ((self.major & 0xfff) << 8) | ((self.minor & 0xf_ff00) << 12)
    }

    /// Inverse of [`Rdev::encode`]; every value means something.
    #[must_use]
    pub fn decode(encoded: u32) -> Self {
        Self { major: (encoded >> 8) & 0xfff, minor: (encoded & 0xff) | ((encoded >> 12) & 0xf_ff00) }
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Directory; its names are in the [`Tree`](crate::Tree).
    Directory,
    /// Regular file, whose bytes are one contiguous run of the data device.
    File {
        /// Bytes.
        size: u64,
        /// First 4 KiB block in the data device; without meaning when `size` is 0.
        start_block: u32,
    },
    /// Symbolic link with its target: 1 to 4,095 bytes, no NUL.
    Symlink(Vec<u8>),
    /// Character device; [`Rdev::WHITEOUT`] is a whiteout.
    CharDevice(Rdev),
    /// Block device.
    BlockDevice(Rdev),
    /// Named pipe.
    Fifo,
    /// Unix socket.
    Socket,
}
