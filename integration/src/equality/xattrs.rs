//! All extended attributes of a path, the path itself and not what a symbolic link points to.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

/// The kernel's bound of a list of names and of one value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LARGEST: usize = 64 * 1024;

/// Names and values of every namespace that the caller may see: as root, `trusted.*` too.
///
/// # Errors
/// What the kernel answers; a filesystem without xattrs has none.
pub(crate) fn read_xattrs(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0_u8; LARGEST];
    let length = match llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    if length == 0 {
        return Ok(found);
    }
    let mut value = vec![0_u8; LARGEST];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let length = lgetxattr(path, name, &mut value[..])?;
        found.insert(name.to_vec(), value[..length].to_vec());
    }
    Ok(found)
}
