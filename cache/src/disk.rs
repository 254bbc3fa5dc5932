//! Durable and atomic: write under a temporary name, sync, rename, sync the directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{CacheError, sys::MappedFile};

/// Begins the name of everything that is not finished, or no longer wanted: removed at the next start.
pub(crate) const TEMPORARY: &str = ".tmp-";

/// Blocks that filesystems give out: chunks of different files never share one, holes are made of whole ones.
pub(crate) const BLOCK: u64 = 4096;

/// Puts the path into an I/O error.
pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> CacheError {
    move |source| CacheError::Io { path: path.into(), source }
}

/// A directory and its parents, for root's eyes only.
pub(crate) fn create_dir(path: &Path) -> Result<(), CacheError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Makes names in `path` durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), CacheError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(at(path))
}

/// A new file, read and write.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    private_options().create_new(true).open(path)
}

/// Read and write, for root's eyes only.
pub(crate) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Replaces `path` by `bytes` in one step, and gives the new file. Durable only when `sync` says so.
pub(crate) fn replace(path: &Path, bytes: &[u8], sync: bool) -> io::Result<File> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir)?;
    file.write_all(bytes)?;
    if sync {
        file.as_file().sync_all()?;
    }
    let file = file.persist(path).map_err(|error| error.error)?;
    if sync {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

/// Opens and maps; nothing when there is no such file.
pub(crate) fn map(path: &Path) -> Result<Option<MappedFile>, CacheError> {
    match File::open(path).and_then(|file| MappedFile::map(&file)) {
        Ok(mapped) => Ok(Some(mapped)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Takes a directory out of sight in one step, then deletes it. Whoever has files of it open keeps them.
pub(crate) fn remove_dir(path: &Path) -> Result<(), CacheError> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    let grave = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent).map_err(at(parent))?;
    match fs::rename(path, grave.path().join("removed")) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    }
    let grave_path = grave.path().to_owned();
    grave.close().map_err(at(grave_path))?;
    sync_dir(parent)
}

/// Names of all directories in `path`.
pub(crate) fn dir_names(path: &Path) -> Result<Vec<String>, CacheError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(at(path))? {
        let entry = entry.map_err(at(path))?;
        if entry.file_type().map_err(at(entry.path()))?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Names of the finished directories in `path`; the unfinished ones are removed on the way.
pub(crate) fn finished_dirs(path: &Path) -> Result<Vec<String>, CacheError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(at(path))? {
        let entry = entry.map_err(at(path))?;
        let is_dir = entry.file_type().map_err(at(entry.path()))?.is_dir();
        match entry.file_name().into_string() {
            Ok(name) if name.starts_with(TEMPORARY) => {
                let removed =
                    if is_dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
                removed.map_err(at(entry.path()))?;
            }
            Ok(name) if is_dir => names.push(name),
            // Not ours; left alone.
            _ => {}
        }
    }
    Ok(names)
}
