//! Deleting whatever a container left, in constant memory and with two open files.
//!
//! A container may nest directories deeper than a path is long and deeper than a stack: recursion would end the
//! daemon. So a directory's subdirectories are first moved up into the trash itself, under new names, and are
//! emptied like the rest in a later turn. A crash in between leaves trash.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use peel_layer::failpoint;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, openat, renameat_with, statat, unlinkat},
    io::Errno,
};

/// Listings of one directory before it is left for another time: deleting may make a listing skip entries.
const ATTEMPTS: u32 = 16;

/// Deletes everything in `trash`.
pub(super) fn empty(trash: &Path) -> io::Result<()> {
    let trash = open(rustix::fs::CWD, trash)?;
    let mut serial = 0;
    let mut outcome = Ok(());
    loop {
        let mut progress = false;
        for entry in Dir::read_from(&trash)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match remove(trash.as_fd(), name, &mut serial) {
                Ok(()) => progress = true,
                Err(error) => outcome = Err(error.into()),
            }
        }
        // What was moved up may not be in this listing.
        if !progress {
            return outcome;
        }
        outcome = Ok(());
    }
}

fn open<P: rustix::path::Arg>(at: impl AsFd, path: P) -> rustix::io::Result<OwnedFd> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Deletes one thing in the trash; its subdirectories only move up.
fn remove(trash: BorrowedFd<'_>, name: &std::ffi::CStr, serial: &mut u64) -> rustix::io::Result<()> {
    match unlinkat(trash, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        done => return done,
    }
    let directory = open(trash, name)?;
    failpoint::reach(|| "cleanup: a directory");
    for _ in 0..ATTEMPTS {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let inner = entry.file_name();
            if matches!(inner.to_bytes(), b"." | b"..") {
                continue;
            }
            if is_directory(&directory, inner, entry.file_type())? {
                move_up(directory.as_fd(), inner, trash, serial)?;
            } else {
                unlinkat(&directory, inner, AtFlags::empty())?;
            }
        }
        match unlinkat(trash, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return done,
        }
    }
    Err(Errno::NOTEMPTY)
}

fn is_directory(at: impl AsFd, name: &std::ffi::CStr, listed: FileType) -> rustix::io::Result<bool> {
    if listed != FileType::Unknown {
        return Ok(listed == FileType::Directory);
    }
    let status = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

fn move_up(
    from: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    trash: BorrowedFd<'_>,
    serial: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        *serial += 1;
        // A run before this one may have left the same name.
        match renameat_with(from, name, trash, format!("n{serial}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn deletes_deep_trees_and_follows_no_link() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let (trash, outside) = (root.path().join("trash"), root.path().join("outside"));
        fs::create_dir_all(trash.join("n1/a/b"))?;
        fs::write(&outside, "kept")?;
        symlink(&outside, trash.join("n1/a/b/link"))?;
        symlink(root.path(), trash.join("n1/link"))?;
        // Deeper than PATH_MAX, so only step by step.
        let mut directory = open(rustix::fs::CWD, trash.join("n1"))?;
        for _ in 0..3000 {
            rustix::fs::mkdirat(&directory, "deeper", Mode::RWXU)?;
            directory = open(&directory, "deeper")?;
        }
        empty(&trash)?;
        assert_eq!(fs::read_dir(&trash)?.count(), 0);
        assert_eq!(fs::read(&outside)?, b"kept");
        Ok(())
    }
}
