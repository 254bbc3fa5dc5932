//! One method per request.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt, path::Path, time::SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileAttr, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use peel_layer::VerifiedBytes;

use super::Session;
use crate::{
    InitParameters, NodeId, Opcode,
    failure::Failure,
    forest::{Detail, ENDLESS},
    init,
    marks::Work,
    node::Node,
    read::PendingRead,
    tree::Extent,
};

/// Slots are never used twice, so no node id ever means a second thing.
const GENERATION: Generation = Generation(0);

/// Unit in which `statfs` counts, in bytes.
const BLOCK: u32 = 4096;

/// Longest name in a directory, in bytes.
const NAME_MAX: u32 = 255;

/// Requests whose answer never varies. Arguments are named by their types alone: nobody looks at them.
macro_rules! always {
    ($($opcode:ident, $failure:ident: $method:ident($($argument:ty),*) -> $reply:ty;)*) => {
        $(fn $method(&self, _: &Request, $(_: $argument,)* reply: $reply) {
            self.refuse(Opcode::$opcode, reply, &Failure::$failure);
        })*
    };
}

impl Filesystem for Session {
    fn init(&mut self, _: &Request, kernel: &mut KernelConfig) -> io::Result<()> {
        let agreed = match self.recorded {
            Some(recorded) => init::agree(kernel, &recorded).map(|()| recorded)?,
            None => init::negotiate(kernel, &self.config)?,
        };
        tracing::debug!(?agreed, "handshake");
        self.init.set(agreed).map_err(|_| io::Error::other("second INIT on one connection"))
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.serve(
            Opcode::Lookup,
            (request, parent),
            reply,
            |forest, _| forest.lookup(NodeId::from(parent.0), name.as_bytes()),
            |reply, found| {
                reply.entry_with_ttls(&found.attributes_for, &found.name_for, &found.attributes, GENERATION);
            },
        );
    }

    fn forget(&self, _: &Request, _: INodeNo, _: u64) {
        let _taken = self.take(Opcode::Forget);
    }

    fn getattr(&self, request: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.serve(
            Opcode::Getattr,
            (request, node),
            reply,
            |forest, _| forest.attributes(NodeId::from(node.0)),
            |reply, found| reply.attr(&found.attributes_for, &found.attributes),
        );
    }

    fn readlink(&self, request: &Request, node: INodeNo, reply: ReplyData) {
        self.serve(
            Opcode::Readlink,
            (request, node),
            reply,
            |forest, _| forest.target(NodeId::from(node.0)),
            |reply, target| reply.data(&target),
        );
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.agreed(InitParameters::without_open) {
            self.refuse(Opcode::Open, reply, &Failure::NotOffered);
            return;
        }
        let _taken = self.take(Opcode::Open);
        let keep = match NodeId::from(node.0).node() {
            Some(Node::Data(_)) => FopenFlags::FOPEN_DIRECT_IO,
            _ => FopenFlags::FOPEN_KEEP_CACHE,
        };
        reply.opened(FileHandle(0), keep | FopenFlags::FOPEN_NOFLUSH);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.agreed(InitParameters::without_opendir) {
            self.refuse(Opcode::Opendir, reply, &Failure::NotOffered);
        } else {
            let _taken = self.take(Opcode::Opendir);
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
        }
    }

    fn read(
        &self,
        request: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _taken = self.take(Opcode::Read);
        let node = NodeId::from(node.0);
        let pending = PendingRead::new(reply, (&self.counters, self.drain.open()), node);
        let work = Work::new(request.unique().0, node, Opcode::Read).of(offset, size);
        // Until the bytes are found or waited for.
        let _mark = match self.mark(work) {
            Ok(mark) => mark,
            Err(failure) => return pending.answer(0, Err(failure)),
        };
        // A panic drops `pending`, which answers EIO; that is all the outcome could still say.
        _ = self.guarded(Opcode::Read, || {
            match self.forest.extent(node, offset, size) {
                Ok((_, Extent::Zeros(length))) => pending.answer(length, Ok(VerifiedBytes::zeros(length))),
                Ok((slot, Extent::Data { range, length })) => {
                    let reply =
                        move |outcome: Result<_, _>| pending.answer(length, outcome.map_err(Failure::from));
                    self.forest.read(slot, range, Box::new(reply));
                }
                Err(failure) => pending.answer(0, Err(failure)),
            }
            Ok(())
        });
    }

    fn readdir(&self, request: &Request, node: INodeNo, _: FileHandle, from: u64, reply: ReplyDirectory) {
        self.serve(
            Opcode::Readdir,
            (request, node),
            reply,
            |forest, reply| {
                forest.list(NodeId::from(node.0), from, Detail::Names, &mut |entry| {
                    let FileAttr { ino, kind, .. } = entry.attributes;
                    !reply.add(ino, entry.next, kind, OsStr::from_bytes(entry.name))
                })
            },
            |reply, ()| reply.ok(),
        );
    }

    fn readdirplus(
        &self,
        request: &Request,
        node: INodeNo,
        _: FileHandle,
        from: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.serve(
            Opcode::Readdirplus,
            (request, node),
            reply,
            |forest, reply| {
                forest.list(NodeId::from(node.0), from, Detail::Attributes, &mut |entry| {
                    let (ino, name) = (entry.attributes.ino, OsStr::from_bytes(entry.name));
                    !reply.add(ino, entry.next, name, &ENDLESS, &entry.attributes, GENERATION)
                })
            },
            |reply, ()| reply.ok(),
        );
    }

    fn statfs(&self, request: &Request, node: INodeNo, reply: ReplyStatfs) {
        self.serve(
            Opcode::Statfs,
            (request, node),
            reply,
            |forest, _| Ok(forest.capacity()),
            |reply, (capacity, free)| {
                let (capacity, free) = (capacity / u64::from(BLOCK), free / u64::from(BLOCK));
                reply.statfs(capacity, free, free, 0, 0, BLOCK, NAME_MAX, BLOCK);
            },
        );
    }

    fn getxattr(&self, request: &Request, node: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        self.serve(
            Opcode::Getxattr,
            (request, node),
            reply,
            |forest, _| fitting(forest.xattr(NodeId::from(node.0), name.as_bytes())?, room),
            send_fitting,
        );
    }

    fn listxattr(&self, request: &Request, node: INodeNo, room: u32, reply: ReplyXattr) {
        self.serve(
            Opcode::Listxattr,
            (request, node),
            reply,
            |forest, _| fitting(forest.xattr_names(NodeId::from(node.0))?, room),
            send_fitting,
        );
    }

    // Modes are checked by the kernel (`default_permissions`).
    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        let _taken = self.take(Opcode::Access);
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let _taken = self.take(Opcode::Release);
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        let _taken = self.take(Opcode::Releasedir);
        reply.ok();
    }

    always! {
        Flush, NotOffered: flush(INodeNo, FileHandle, LockOwner) -> ReplyEmpty;
        Fsync, NotOffered: fsync(INodeNo, FileHandle, bool) -> ReplyEmpty;
        Fsync, NotOffered: fsyncdir(INodeNo, FileHandle, bool) -> ReplyEmpty;
        // The kernel then takes the whole file for data, which it is: holes are zeros that we answer.
        Lseek, NotOffered: lseek(INodeNo, FileHandle, i64, i32) -> ReplyLseek;
        Poll, NotOffered: poll(INodeNo, FileHandle, PollNotifier, PollEvents, PollFlags) -> ReplyPoll;
        // Overlayfs asks for inode flags when it copies up and takes ENOTTY for "none".
        Ioctl, NoIoctl: ioctl(INodeNo, FileHandle, IoctlFlags, u32, &[u8], u32) -> ReplyIoctl;

        // The mount is read-only, so these come only after somebody remounted it.
        Change, ReadOnly: setattr(
            INodeNo, Option<u32>, Option<u32>, Option<u32>, Option<u64>, Option<TimeOrNow>, Option<TimeOrNow>,
            Option<SystemTime>, Option<FileHandle>, Option<SystemTime>, Option<SystemTime>,
            Option<SystemTime>, Option<BsdFileFlags>
        ) -> ReplyAttr;
        Change, ReadOnly: mknod(INodeNo, &OsStr, u32, u32, u32) -> ReplyEntry;
        Change, ReadOnly: mkdir(INodeNo, &OsStr, u32, u32) -> ReplyEntry;
        Change, ReadOnly: unlink(INodeNo, &OsStr) -> ReplyEmpty;
        Change, ReadOnly: rmdir(INodeNo, &OsStr) -> ReplyEmpty;
        Change, ReadOnly: symlink(INodeNo, &OsStr, &Path) -> ReplyEntry;
        Change, ReadOnly: rename(INodeNo, &OsStr, INodeNo, &OsStr, RenameFlags) -> ReplyEmpty;
        Change, ReadOnly: link(INodeNo, INodeNo, &OsStr) -> ReplyEntry;
        Change, ReadOnly: write(
            INodeNo, FileHandle, u64, &[u8], WriteFlags, OpenFlags, Option<LockOwner>
        ) -> ReplyWrite;
        Change, ReadOnly: setxattr(INodeNo, &OsStr, &[u8], i32, u32) -> ReplyEmpty;
        Change, ReadOnly: removexattr(INodeNo, &OsStr) -> ReplyEmpty;
        Change, ReadOnly: create(INodeNo, &OsStr, u32, u32, i32) -> ReplyCreate;
        Change, ReadOnly: fallocate(INodeNo, FileHandle, u64, u64, i32) -> ReplyEmpty;
        Change, ReadOnly: copy_file_range(
            INodeNo, FileHandle, u64, INodeNo, FileHandle, u64, u64, CopyFileRangeFlags
        ) -> ReplyWrite;
    }
}

/// An xattr's answer for a caller with `room` bytes: with none it asks for the size.
enum Fitting {
    Size(u32),
    Bytes(Vec<u8>),
}

fn fitting(bytes: Vec<u8>, room: u32) -> Result<Fitting, Failure> {
    let size = u32::try_from(bytes.len()).map_err(|_| Failure::TooLarge)?;
    match room {
        0 => Ok(Fitting::Size(size)),
        room if size <= room => Ok(Fitting::Bytes(bytes)),
        _ => Err(Failure::TooLarge),
    }
}

fn send_fitting(reply: ReplyXattr, fitting: Fitting) {
    match fitting {
        Fitting::Size(size) => reply.size(size),
        Fitting::Bytes(bytes) => reply.data(&bytes),
    }
}
