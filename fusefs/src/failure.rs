//! Every errno that leaves Peel is chosen here.

use fuser::Errno;
use peel_layer::serve::ReadError;

/// Why a request cannot be answered as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The id was never given out, or its slot is gone.
    #[error("the node is gone")]
    Stale,
    /// No such name in the root. Inside a tree a missing name is an answer, not a failure.
    #[error("no such slot")]
    NoSuchSlot,
    /// The node has no xattr of that name.
    #[error("no such xattr")]
    NoXattr,
    /// The xattr does not fit the caller's buffer.
    #[error("buffer too small")]
    TooLarge,
    /// Bytes, link or entries of a node of another kind; the kernel checks this first.
    #[error("wrong kind of node")]
    WrongKind,
    /// Trees do not change.
    #[error("read-only")]
    ReadOnly,
    /// Not offered; the kernel does without and, for most operations, stops asking.
    #[error("not offered")]
    NotOffered,
    /// No such ioctl.
    #[error("no such ioctl")]
    NoIoctl,
    /// The tree image contradicts itself.
    #[error("tree image is damaged: {0}")]
    Damaged(#[from] peel_erofs::ReadError),
    /// The bytes did not come.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The source answered another number of bytes than was asked for.
    #[error("{found} bytes came instead of {expected}")]
    WrongLength {
        /// Asked for.
        expected: usize,
        /// Got.
        found: usize,
    },
    /// The daemon died of it before.
    #[error("condemned")]
    Condemned,
    /// The handler panicked, or an answer was thrown away.
    #[error("handler failed")]
    Broken,
}

impl Failure {
    /// What the caller sees.
    pub(crate) fn errno(&self) -> Errno {
        match self {
            Self::Stale | Self::Read(ReadError::Gone) => Errno::ESTALE,
            Self::NoSuchSlot => Errno::ENOENT,
            Self::NoXattr => Errno::ENODATA,
            Self::TooLarge => Errno::ERANGE,
            Self::WrongKind => Errno::EINVAL,
            Self::ReadOnly => Errno::EROFS,
            Self::NotOffered => Errno::ENOSYS,
            Self::NoIoctl => Errno::ENOTTY,
            // As the kernel's own EROFS says it.
            Self::Damaged(_) => Errno::from_i32(rustix::io::Errno::UCLEAN.raw_os_error()),
            // One errno for all that ails the bytes: programs know EIO, and few know ETIMEDOUT from read(2).
            // The log and the metrics tell them apart.
            Self::Read(
                ReadError::TimedOut(_)
                | ReadError::Unavailable(_)
                | ReadError::Corrupt(_)
                | ReadError::Local(_),
            )
            | Self::WrongLength { .. }
            | Self::Condemned
            | Self::Broken => Errno::EIO,
        }
    }
}
