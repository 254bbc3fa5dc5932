//! Extended attributes as unpacking leaves them.
//!
//! containerd sets what the tar has, with three exceptions that pass in silence: `trusted.*` (an image could
//! otherwise speak to overlayfs: `trusted.overlay.redirect`), prefixes that the filesystem does not know, and
//! `user.*` on what is neither file nor directory, which the kernel refuses (xattr(7)). What else the kernel
//! refuses fails the layer.

use peel_erofs::{Metadata, Xattr};

use super::EntryError;

/// Longest name in bytes (the kernel's `XATTR_NAME_MAX`).
const NAME_MAX: usize = 255;
/// Longest value in bytes that the tree image can hold, one less than the kernel's `XATTR_SIZE_MAX`.
const VALUE_MAX: usize = 65_535;
/// Most attributes of one file. listxattr(2) shows 64 KiB of names, ext4 holds 4 KiB in all.
pub(crate) const COUNT_MAX: usize = 1024;

/// Changes a node's metadata; its xattrs are kept in the order of their names.
#[derive(Debug)]
pub(super) struct Xattrs<'a>(pub(super) &'a mut Metadata);

impl Xattrs<'_> {
    /// Mode, owner and time become those of `entry`, its xattrs are added. `plain`: file or directory.
    pub(super) fn change_to(&mut self, entry: &Metadata, plain: bool) -> Result<(), EntryError> {
        (self.0.permissions, self.0.uid, self.0.gid) = (entry.permissions & 0o7777, entry.uid, entry.gid);
        self.0.mtime = entry.mtime;
        for xattr in &entry.xattrs {
            if is_kept(&xattr.name, plain) {
                self.set(&xattr.name, &xattr.value)?;
            }
        }
        Ok(())
    }

    /// Sets one, whatever its name.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), EntryError> {
        if let Some(problem) = problem(name, value) {
            let name = String::from_utf8_lossy(name).chars().take(300).collect();
            return Err(EntryError::Xattr { name, problem });
        }
        let list = &mut self.0.xattrs;
        match list.binary_search_by(|xattr| (*xattr.name).cmp(name)) {
            Ok(at) => list[at].value = value.to_vec(),
            Err(_) if list.len() >= COUNT_MAX => {
                return Err(EntryError::Xattr { name: lossy(name), problem: "one too many" });
            }
            Err(at) => list.insert(at, Xattr { name: name.to_vec(), value: value.to_vec() }),
        }
        Ok(())
    }

    /// What chown(2) does to a file, also to root's and also if the owner stays: file capabilities go (seen on 6.18;
    /// `ATTR_KILL_PRIV` in fs/open.c).
    pub(super) fn chown_takes_capabilities(&mut self) {
        let list = &mut self.0.xattrs;
        if let Ok(at) = list.binary_search_by(|xattr| (*xattr.name).cmp(b"security.capability")) {
            list.remove(at);
        }
    }
}

fn is_kept(name: &[u8], plain: bool) -> bool {
    match name {
        b"system.posix_acl_access" | b"system.posix_acl_default" => plain,
        _ if name.starts_with(b"user.") => plain,
        _ => name.starts_with(b"security."),
    }
}

fn problem(name: &[u8], value: &[u8]) -> Option<&'static str> {
    if name.len() > NAME_MAX || name.contains(&0) || matches!(name, b"user." | b"security.") {
        return Some("impossible name");
    }
    (value.len() > VALUE_MAX).then_some("value is too long")
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
