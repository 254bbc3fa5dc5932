//! Workloads over many files.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{Done, READ, random::Shuffle};
use crate::bench::image;

/// readdir and lstat of everything below `root`.
pub(super) fn walk(root: &Path) -> Result<Done> {
    let begin = Instant::now();
    let mut items = 0;
    visit(root, &mut |_, _| {
        items += 1;
        Ok(())
    })?;
    Ok(Done { cost: begin.elapsed().as_secs_f64(), items, bytes: 0 })
}

/// Every regular file read to its end, in the order of the directories.
pub(super) fn read_all(root: &Path) -> Result<Done> {
    let mut buffer = vec![0; READ];
    let (mut items, mut bytes) = (0, 0);
    let begin = Instant::now();
    visit(root, &mut |path, metadata| {
        if metadata.is_file() {
            items += 1;
            bytes += read_file(path, &mut buffer)?;
        }
        Ok(())
    })?;
    Ok(Done { cost: begin.elapsed().as_secs_f64(), items, bytes })
}

/// The small files in random order, the same order every time: open, read a byte, close.
pub(super) fn open_small(root: &Path) -> Result<Done> {
    let paths: Vec<PathBuf> =
        Shuffle::of(image::SMALL_FILES).map(|number| root.join(image::small_file(number))).collect();
    let mut byte = [0; 1];
    let begin = Instant::now();
    for path in &paths {
        open(path)?.read_exact(&mut byte).with_context(|| format!("reading {}", path.display()))?;
    }
    Ok(Done { cost: begin.elapsed().as_secs_f64(), items: image::SMALL_FILES, bytes: image::SMALL_FILES })
}

/// Reads a file to its end; gives its length.
pub(super) fn read_file(path: &Path, buffer: &mut [u8]) -> Result<u64> {
    let mut file = open(path)?;
    let mut bytes = 0;
    loop {
        match file.read(buffer).with_context(|| format!("reading {}", path.display()))? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("opening {}", path.display()))
}

/// Everything below `root`, with its attributes. A list instead of recursion: only one directory is open at a time.
fn visit(root: &Path, see: &mut dyn FnMut(&Path, &fs::Metadata) -> Result<()>) -> Result<()> {
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).with_context(|| format!("listing {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", directory.display()))?;
            let path = entry.path();
            // fstatat in the open directory, as find and ls do it.
            let metadata = entry.metadata().with_context(|| format!("stat of {}", path.display()))?;
            see(&path, &metadata)?;
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    Ok(())
}
