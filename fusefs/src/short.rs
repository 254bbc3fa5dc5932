//! A filesystem of one file whose end comes too early: what a probe mounts to see what the kernel's EROFS makes of
//! a short read. Kernels from 6.12 up to early 2026 fill it with zeros and call the page valid; such a kernel must
//! not be given data files (erofs-format.md §10).

use std::{ffi::OsStr, io, os::fd::OwnedFd, time::Duration};

use fuser::{
    FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request, SessionACL,
};

use crate::{attributes, failure::Failure};

/// Name of the file.
pub const NAME: &str = "data";
/// Size that the file claims, in bytes: two blocks of EROFS.
pub const CLAIMED: u64 = 8192;
/// Bytes that are there.
pub const PRESENT: u64 = 4096 + 1024;
/// What they are.
pub const FILLING: u8 = 0xA5;

const FILE: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(60);

/// Serves the file on a device that is mounted already, in a thread that ends with the mount.
///
/// # Errors
/// The handshake fails, or no thread can be started.
pub fn serve(device: OwnedFd) -> io::Result<()> {
    let session = fuser::Session::from_fd(Short, device, SessionACL::All, fuser::Config::default())?;
    std::thread::Builder::new().name("probe".to_owned()).spawn(move || session.run())?;
    Ok(())
}

struct Short;

fn file() -> FileAttr {
    FileAttr {
        ino: FILE,
        size: CLAIMED,
        blocks: CLAIMED / 512,
        kind: FileType::RegularFile,
        perm: 0o400,
        nlink: 1,
        ..attributes::of_root()
    }
}

impl Filesystem for Short {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&TTL, &file(), Generation(0));
        } else {
            reply.error(Failure::NoSuchSlot.errno());
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &if node == FILE { file() } else { attributes::of_root() });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let length = PRESENT.saturating_sub(offset).min(u64::from(size));
        reply.data(&vec![FILLING; usize::try_from(length).unwrap_or(0)]);
    }
}
