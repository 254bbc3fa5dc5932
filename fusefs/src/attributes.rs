//! Attributes as FUSE has them, from inodes as the tree image has them.
//!
//! `st_ino` is the node id. Block counts are what the kernel's own EROFS reports, sizes rounded up to 4 KiB, so
//! that `du` says the same on both front ends. An image has one time per inode; it stands for all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use peel_erofs::{Inode, Timestamp};

use crate::NodeId;

/// Size of a block of the tree image, in bytes; what `st_blksize` says.
pub(crate) const BLOCK: u64 = 4096;

/// Units of `st_blocks` in a block.
const SECTORS: u64 = BLOCK / 512;

/// A node of which only the number and the kind are known: what a listing without attributes needs.
pub(crate) fn bare(id: NodeId, kind: FileType) -> FileAttr {
    FileAttr {
        ino: INodeNo(id.get()),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// The answer to a lookup of a name that a tree does not have: node 0, which the kernel remembers as missing.
pub(crate) fn of_nothing() -> FileAttr {
    FileAttr { ino: INodeNo(0), ..bare(NodeId::ROOT, FileType::RegularFile) }
}

/// The FUSE root. Its mtime is now, so that the kernel never takes an old listing of it for a good one.
pub(crate) fn of_root() -> FileAttr {
    let now = SystemTime::now();
    FileAttr {
        mtime: now,
        ctime: now,
        atime: now,
        perm: 0o555,
        nlink: 2,
        ..bare(NodeId::ROOT, FileType::Directory)
    }
}

/// A slot's data file of `size` bytes.
pub(crate) fn of_data(id: NodeId, size: u64) -> FileAttr {
    FileAttr { size, blocks: blocks(size), perm: 0o400, ..bare(id, FileType::RegularFile) }
}

/// An inode of a tree.
pub(crate) fn of_inode(id: NodeId, inode: &Inode) -> FileAttr {
    let time = system_time(inode.mtime);
    FileAttr {
        size: inode.size,
        blocks: blocks(inode.size),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        perm: inode.mode & 0o7777,
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev.encode(),
        ..bare(id, kind(inode.file_type()))
    }
}

/// The kind of a node in the FUSE crate's words.
pub(crate) fn kind(file_type: peel_erofs::FileType) -> FileType {
    match file_type {
        peel_erofs::FileType::File => FileType::RegularFile,
        peel_erofs::FileType::Directory => FileType::Directory,
        peel_erofs::FileType::CharDevice => FileType::CharDevice,
        peel_erofs::FileType::BlockDevice => FileType::BlockDevice,
        peel_erofs::FileType::Fifo => FileType::NamedPipe,
        peel_erofs::FileType::Socket => FileType::Socket,
        peel_erofs::FileType::Symlink => FileType::Symlink,
    }
}

fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK).saturating_mul(SECTORS)
}

/// A time beyond what the platform can hold becomes 1970.
fn system_time(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let start = if time.seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    start
        .and_then(|start| start.checked_add(Duration::from_nanos(time.nanoseconds.into())))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_out_of_reach() {
        let at = |seconds, nanoseconds| system_time(Timestamp { seconds, nanoseconds });
        assert_eq!(at(1, 5), UNIX_EPOCH + Duration::new(1, 5));
        assert_eq!(at(-1, 750_000_000), UNIX_EPOCH - Duration::from_millis(250));
        // Both ends of what an image can hold: no panic.
        for seconds in [i64::MIN, i64::MAX] {
            let _ = at(seconds, u32::MAX);
        }
    }

    #[test]
    fn block_counts_are_whole_blocks() {
        assert_eq!([0, 1, 4096, 4097].map(blocks), [0, 8, 8, 16]);
    }
}
