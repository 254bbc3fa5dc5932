//! An image by `mkfs.erofs` has what our writer never writes: 32-byte inodes and shared xattrs. Kernel and reader
//! agree on those, too.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use peel_erofs::{FileType, Image, Inode};
use rustix::fs::{XattrFlags, setxattr};

use crate::{
    common::Outcome,
    mounted::{Mounted, directory},
};

/// Files under a directory, all with one long label, so that sharing pays.
fn plant(root: &Path) -> Outcome {
    fs::create_dir_all(root.join("deep/er"))?;
    fs::write(root.join("empty"), b"")?;
    symlink("deep/er", root.join("link"))?;
    for number in 0..300_u32 {
        let path = root.join(format!("deep/er/file-{number}"));
        fs::write(&path, number.to_le_bytes().repeat(2000))?;
        setxattr(&path, "user.label", &[b'l'; 200], XattrFlags::empty())?;
        if number % 3 == 0 {
            setxattr(&path, "user.own", &number.to_le_bytes(), XattrFlags::empty())?;
        }
    }
    Ok(())
}

#[test]
fn images_by_mkfs() -> Outcome {
    let directory = directory()?;
    let source = directory.path().join("source");
    plant(&source)?;
    let (image, data) = (directory.path().join("by-mkfs"), directory.path().join("data"));
    let made = Command::new("mkfs.erofs")
        .args(["--chunksize=1048576", "-Eforce-inode-compact", "-T1700000000", "--quiet"])
        .arg(format!("--blobdev={}", data.display()))
        .args([&image, &source])
        .output()
        .map_err(|error| format!("mkfs.erofs of erofs-utils is needed: {error}"))?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bytes = fs::read(&image)?;
    assert!(bytes.len() < 300 * (32 + 200), "the labels are not shared");
    let mounted = Mounted::mount(directory, &bytes)?;
    let image = Image::open(&bytes)?;
    let checked = compare(&image, &image.inode(image.root())?, &mounted.root)?;
    assert_eq!(checked, 305);
    Ok(())
}

/// Compares a directory with what the kernel shows there; returns how many inodes were compared.
fn compare(image: &Image<&Vec<u8>>, inode: &Inode, path: &Path) -> Result<usize, Box<dyn std::error::Error>> {
    use std::os::unix::fs::MetadataExt;
    let seen = fs::symlink_metadata(path)?;
    assert_eq!(seen.ino(), inode.nid.0, "{}", path.display());
    assert_eq!(seen.mode(), u32::from(inode.mode));
    assert_eq!((seen.uid(), seen.gid(), seen.size()), (inode.uid, inode.gid, inode.size));
    assert_eq!(seen.nlink(), u64::from(inode.nlink));
    assert_eq!((seen.mtime(), seen.mtime_nsec()), (inode.mtime.seconds, inode.mtime.nanoseconds.into()));
    let mut value = vec![0; 1 << 16];
    let mut names = Vec::new();
    for xattr in image.xattrs(inode) {
        let xattr = xattr?.to_xattr();
        let name = String::from_utf8(xattr.name)?;
        let length = rustix::fs::lgetxattr(path, &name, &mut value)?;
        assert_eq!(value[..length], xattr.value);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    let length = rustix::fs::llistxattr(path, &mut value)?;
    assert_eq!(value[..length], names, "{}", path.display());

    let mut checked = 1;
    if inode.file_type() == FileType::Symlink {
        assert_eq!(fs::read_link(path)?.as_os_str().as_encoded_bytes(), image.symlink_target(inode)?);
    }
    if inode.file_type() == FileType::Directory {
        let mut count = 0;
        for entry in image.read_dir(inode, 0)? {
            let entry = entry?;
            let name = std::str::from_utf8(entry.name)?;
            if name != "." && name != ".." {
                checked += compare(image, &image.inode(entry.nid)?, &path.join(name))?;
                count += 1;
            }
        }
        assert_eq!(fs::read_dir(path)?.count(), count);
    }
    Ok(checked)
}
