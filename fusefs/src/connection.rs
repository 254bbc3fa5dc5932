//! A FUSE connection from the operator's side: its number, its abort switch, its read-ahead.
//!
//! Nothing here touches the filesystem itself, which may hang while nobody serves it: the connection is found in
//! mountinfo and steered through sysfs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::mount::MountFlags;

use crate::mountinfo::{self, Mount};

const CONTROL: &str = "/sys/fs/fuse/connections";

/// One connection, named by the device number of its superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    major: u32,
    minor: u32,
}

impl Connection {
    /// The connection mounted on `mount_point`: the topmost mount there, if it is FUSE.
    ///
    /// # Errors
    /// `NotFound` when no FUSE filesystem is mounted there; else what reading mountinfo says.
    pub fn at(mount_point: &Path) -> io::Result<Self> {
        let mount_point = resolve_parent(mount_point)?;
        mountinfo::mounts()?
            .into_iter()
            .rfind(|mount| mount.mount_point == mount_point)
            .filter(Mount::is_fuse)
            .map(|mount| Self { major: mount.device.0, minor: mount.device.1 })
            .ok_or_else(|| {
                let text = format!("no FUSE filesystem is mounted on {}", mount_point.display());
                io::Error::new(io::ErrorKind::NotFound, text)
            })
    }

    /// The number that fusectl and the kernel's device numbers have for it.
    #[must_use]
    pub fn number(self) -> u64 {
        // Anonymous devices have major 0, and fusectl writes the whole number in decimal.
        (u64::from(self.major) << 20) | u64::from(self.minor)
    }

    /// Ends the connection: everybody who waits gets an error, and the server's threads end. Not to be undone.
    ///
    /// # Errors
    /// `NotFound` when the connection is gone; else what mounting or writing fusectl says.
    pub fn abort(self) -> io::Result<()> {
        fs::write(self.control_file("abort")?, "1")
    }

    /// Requests that the kernel has and nobody has answered yet.
    ///
    /// # Errors
    /// As for [`Self::abort`]; `InvalidData` if the kernel writes no number.
    pub fn waiting(self) -> io::Result<u64> {
        let text = fs::read_to_string(self.control_file("waiting")?)?;
        text.trim().parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    /// Sets how far the kernel reads ahead, in KiB. Holds from now on; INIT lowers it to 128, so it is set after.
    ///
    /// # Errors
    /// What writing sysfs says.
    pub fn set_read_ahead(self, kib: u32) -> io::Result<()> {
        fs::write(self.read_ahead_file(), kib.to_string())
    }

    /// How far the kernel reads ahead, in KiB.
    ///
    /// # Errors
    /// What reading sysfs says; `InvalidData` if the kernel writes no number.
    pub fn read_ahead(self) -> io::Result<u32> {
        let text = fs::read_to_string(self.read_ahead_file())?;
        text.trim().parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    fn read_ahead_file(self) -> String {
        format!("/sys/class/bdi/{}:{}/read_ahead_kb", self.major, self.minor)
    }

    /// A file of this connection in fusectl, which is mounted where it is missing, as systemd does it.
    fn control_file(self, name: &str) -> io::Result<PathBuf> {
        let file = Path::new(CONTROL).join(self.number().to_string()).join(name);
        // Without fusectl the directory is empty; with it and no such connection as well.
        if !file.exists() && fs::read_dir(CONTROL)?.next().is_none() {
            rustix::mount::mount("fusectl", CONTROL, "fusectl", MountFlags::empty(), None)?;
        }
        Ok(file)
    }
}

/// The path as mountinfo shows it. Its last part is where requests may hang, so it is not looked at.
fn resolve_parent(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => Ok(absolute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_there() {
        let error = Connection::at(Path::new("/proc/self")).expect_err("not FUSE");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
