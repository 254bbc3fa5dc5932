//! The built daemon as a child process, with a state directory of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::Client;

/// A state directory, and the daemon that serves it. Leaves nothing running or mounted.
pub(crate) struct Daemon {
    child: Option<Child>,
    directory: TempDir,
    failpoint: Option<String>,
}

impl Daemon {
    pub(crate) async fn start() -> (Self, Client) {
        let mut daemon = Self::prepared();
        let client = daemon.resume().await;
        (daemon, client)
    }

    /// Starts it again on what is stored.
    pub(crate) async fn resume(&mut self) -> Client {
        self.spawn();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(client) = Client::connect(&self.socket()).await {
                return client;
            }
            let exited = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(exited.is_none(), "the daemon ended: {exited:?}");
            assert!(Instant::now() < deadline, "the daemon does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn spawn(&mut self) {
        let child = self.command().spawn().unwrap();
        assert!(self.child.replace(child).is_none(), "it runs already");
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peel"));
        command.arg("serve").arg("--root").arg(self.root()).arg("--address").arg(self.socket());
        command.stdin(Stdio::null()).env("PEEL_LOG", "warn");
        if let Some(failpoint) = &self.failpoint {
            command.env("PEEL_FAILPOINT", failpoint);
        }
        if self.holder().exists() {
            command.arg("--holder").arg(self.holder());
        }
        command
    }

    /// Where a holder is, in the tests that have one.
    pub(crate) fn holder(&self) -> PathBuf {
        self.directory.path().join("hold.sock")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// A state directory, and nobody who serves it. On a real disk: overlayfs takes no upper directory on another
    /// overlayfs.
    pub(crate) fn prepared() -> Self {
        let directory = tempfile::Builder::new().prefix("peel-test-").tempdir_in("/var/tmp").unwrap();
        Self { child: None, directory, failpoint: None }
    }

    /// From its next start on it dies there (`peel_layer::failpoint`).
    pub(crate) fn set_failpoint(&mut self, failpoint: String) {
        self.failpoint = Some(failpoint);
    }

    /// Whether it died by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            self.child = None;
        }
        ended
    }

    /// As a crash.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As systemd stops it; gives back how it ended.
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("peel.sock")
    }

    /// Names of the snapshots' directories.
    pub(crate) fn directories(&self) -> Vec<String> {
        names(&self.root().join("snapshots"))
    }

    /// What still is to be deleted.
    pub(crate) fn trash(&self) -> Vec<String> {
        names(&self.root().join("trash"))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        super::mounted::unmount_below(self.directory.path());
    }
}
