//! Everything the reader offers, on any bytes: errors are fine, panics and endless walks are not.

use std::collections::HashSet;

use peel_erofs::{FileType, Image, Inode, Nid, ReadError, load_tree};

/// Makes the first block valid again, so that what was changed in it is looked at.
pub(crate) fn repair(bytes: &mut [u8]) {
    let Some(block) = bytes.get_mut(..4096) else { return };
    block[1028..1032].fill(0);
    let sum = !crc32c::crc32c(&block[1024..]);
    block[1028..1032].copy_from_slice(&sum.to_le_bytes());
}

/// How much a walk looked at.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) inodes: usize,
    pub(crate) entries: usize,
    pub(crate) xattrs: usize,
}

/// Opens `bytes` and, if they open, reads all that can be reached. Directories once each: that is the caller's
/// part, as in the kernel; each single listing must end by itself.
pub(crate) fn walk(bytes: &[u8]) -> Result<Work, ReadError> {
    let image = Image::open(bytes)?;
    let mut work = Work::default();
    let mut seen = HashSet::new();
    let mut queue = vec![image.root()];
    while let Some(nid) = queue.pop() {
        if !seen.insert(nid) {
            continue;
        }
        let Ok(inode) = image.inode(nid) else { continue };
        work.inodes += 1;
        read_inode(&image, &inode, bytes.len(), &mut work);
        if inode.file_type() == FileType::Directory {
            queue.extend(list(&image, &inode, bytes.len(), &mut work)?);
        }
    }
    if let Ok(tree) = load_tree(&image) {
        assert!(tree.node_count() <= bytes.len() / 32 + 1, "more nodes than the image has room for");
    }
    Ok(work)
}

fn read_inode(image: &Image<&[u8]>, inode: &Inode, length: usize, work: &mut Work) {
    // Ids of shared attributes are at most 255; the others are not longer than the image.
    let xattrs = image.xattrs(inode).count();
    assert!(xattrs <= length / 4 + 256);
    work.xattrs += xattrs;
    let _ = image.xattr(inode, b"security.capability");
    let _ = image.symlink_target(inode);
    if let Ok(Some(start)) = image.data_start(inode) {
        let end = start + inode.size;
        assert!(end.div_ceil(4096) <= u64::from(image.data_blocks()), "data outside of the device");
    }
    // Not a directory is an error, whatever else it is.
    if inode.file_type() != FileType::Directory {
        assert_eq!(image.lookup(inode, b"a"), Err(ReadError::NotADirectory(inode.nid)));
    }
}

fn list(image: &Image<&[u8]>, inode: &Inode, length: usize, work: &mut Work) -> Result<Vec<Nid>, ReadError> {
    let mut nids = Vec::new();
    let mut position = 0;
    for entry in image.read_dir(inode, 0)? {
        let Ok(entry) = entry else { break };
        assert!(entry.next > position, "positions must rise");
        assert!(!entry.name.is_empty() && !entry.name.contains(&b'/') && !entry.name.contains(&0));
        position = entry.next;
        nids.push(entry.nid);
        let _ = image.lookup(inode, entry.name);
    }
    assert!(nids.len() <= length / 12, "more entries than the image has room for");
    work.entries += nids.len();
    for position in [1, 11, 4095, 4096, inode.size, u64::MAX - 1, u64::MAX] {
        assert!(image.read_dir(inode, position)?.count() <= length / 12 + 1);
    }
    let _ = image.lookup(inode, b"");
    let _ = image.lookup(inode, &[0xff; 300]);
    Ok(nids)
}
