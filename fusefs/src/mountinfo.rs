//! The kernel's table of mounts (proc_pid_mountinfo(5)).
//!
//! Reading it touches none of the filesystems: the root of one that nobody serves hangs. It is read as bytes, because
//! mount points of other people need not be UTF-8.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// One mount, as this process' mount namespace has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Device number of the superblock: major, minor.
    pub device: (u32, u32),
    /// Where it is.
    pub mount_point: PathBuf,
    /// Filesystem type, with its subtype: `fuse.peel`.
    pub kind: String,
    /// Options of the superblock, as the filesystem shows them; escaped in its own way.
    pub options: String,
}

/// All mounts, in the order in which they were made.
///
/// # Errors
/// mountinfo cannot be read.
pub fn mounts() -> io::Result<Vec<Mount>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect())
}

/// Mount points below `directory`, a path without links, but not on it; the last made first: in the order in which they
/// can be unmounted.
///
/// # Errors
/// mountinfo cannot be read.
pub fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mount_points = mounts()?.into_iter().rev().map(|mount| mount.mount_point);
    Ok(mount_points.filter(|path| path.starts_with(directory) && path != directory).collect())
}

impl Mount {
    /// A line of the table:
    /// `36 35 0:98 / /mnt/peel ro,relatime shared:1 - fuse.peel peel ro,user_id=0,…`. None for anything else.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (major, minor) = str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
        let mount_point = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
        // Any number of optional fields ends with a hyphen; the source follows the type.
        let mut filesystem = fields.skip_while(|field| *field != b"-").skip(1);
        let kind = String::from_utf8_lossy(filesystem.next()?).into_owned();
        let options = String::from_utf8_lossy(filesystem.nth(1)?).into_owned();
        let device = (major.parse().ok()?, minor.parse().ok()?);
        mount_point.is_absolute().then_some(Self { device, mount_point, kind, options })
    }

    /// Whether it is of FUSE, of whatever subtype.
    #[must_use]
    pub fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind.starts_with("fuse.")
    }
}

/// The kernel writes space, tab, newline and backslash of a path as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| byte == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let fuse = Mount::parse(
            br"36 35 0:98 / /mnt/a\040b\134c ro,relatime shared:1 master:2 - fuse.peel peel ro,user_id=0",
        )
        .unwrap();
        let expected = Mount {
            device: (0, 98),
            mount_point: r"/mnt/a b\c".into(),
            kind: "fuse.peel".into(),
            options: "ro,user_id=0".into(),
        };
        assert_eq!(fuse, expected);
        assert!(fuse.is_fuse());
        let ext4 = Mount::parse(br"1 2 8:1 / /a\9 rw - ext4 /dev/sda1 rw,errors=continue").unwrap();
        assert_eq!((ext4.mount_point.as_path(), ext4.is_fuse()), (Path::new(r"/a\9"), false));
        for bad in
            ["", "1 2", "1 2 x / / rw - fuse a b", "1 2 0:1 / / rw", "1 2 0:1 / relative rw - fuse a b"]
        {
            assert_eq!(Mount::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn below_is_not_the_same() {
        let below = |directory: &str| mounts_below(Path::new(directory)).unwrap();
        assert!(below("/").iter().all(|path| path != Path::new("/")));
        assert!(below("/pro").is_empty());
        assert!(below("/").contains(&PathBuf::from("/proc")));
    }
}
