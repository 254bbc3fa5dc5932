//! A user namespace to take a mapping from.
//!
//! `mount_setattr` wants a descriptor of a user namespace, and a namespace needs a process at its birth. A process of
//! many threads cannot enter a new one, so a short-lived child does: `peel user-namespace`, this same executable.
//! It says so on its stdout and lives until its stdin ends.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
};

use super::IdMapping;

/// The command line's name of the child.
const ROLE: &str = "user-namespace";

/// Ends the child on drop.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait().map(drop)) {
            tracing::warn!(%error, "the child that made a user namespace stays");
        }
    }
}

/// A new user namespace with this mapping; it lives as long as the descriptor.
pub(super) fn create(mapping: &IdMapping) -> io::Result<OwnedFd> {
    let failed = |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    let child = Command::new("/proc/self/exe")
        .arg(ROLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed("the child that makes a user namespace", error))?;
    let mut child = Holder(child);
    // It writes its byte or ends: no longer wait than that.
    let mut ready = [0];
    let mut stdout = child.0.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
    stdout.read_exact(&mut ready).map_err(|error| failed("this kernel makes no user namespace", error))?;
    let proc = format!("/proc/{}", child.0.id());
    fs::write(format!("{proc}/uid_map"), mapping.uid_map()).map_err(|error| failed("uid_map", error))?;
    fs::write(format!("{proc}/gid_map"), mapping.gid_map()).map_err(|error| failed("gid_map", error))?;
    Ok(File::open(format!("{proc}/ns/user")).map_err(|error| failed("user namespace", error))?.into())
}

/// The child: enters a new user namespace, says so, and waits to be let go. Called before any thread is started.
///
/// # Errors
/// The kernel makes no user namespace.
pub fn child() -> anyhow::Result<()> {
    super::sys::enter_new_user_namespace()?;
    io::stdout().write_all(&[1])?;
    io::stdout().flush()?;
    let mut end = Vec::new();
    io::stdin().read_to_end(&mut end)?;
    Ok(())
}
