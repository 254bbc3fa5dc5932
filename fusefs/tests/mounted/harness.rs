//! Mounts that always go away again, and waits that always end.

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use peel_fusefs::{Config, Connection, Server, Snapshot, detach, mount};
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

use crate::source::Layers;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A served mount.
pub(crate) struct Mounted {
    directory: TempDir,
    pub(crate) connection: Connection,
    pub(crate) server: Server,
    pub(crate) layers: Arc<Layers>,
    /// The device, kept a second time.
    pub(crate) device: OwnedFd,
}

impl Mounted {
    pub(crate) fn new() -> Self {
        Self::with(&Config::default())
    }

    pub(crate) fn with(config: &Config) -> Self {
        let layers = Arc::new(Layers::default());
        let directory = scratch();
        let device = mount(directory.path()).expect("needs root and /dev/fuse");
        let kept = device.try_clone().unwrap();
        let connection = Connection::at(directory.path()).unwrap();
        let source = Arc::clone(&layers);
        let server = Server::start(device, directory.path(), source, config).unwrap();
        Self { directory, connection, server, layers, device: kept }
    }

    /// The mount point.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The tree of a slot, by a path that does not go through the FUSE root (which is never cached).
    pub(crate) fn tree(&self, slot: u32) -> Tree {
        let directory = fs::File::open(self.path().join(slot.to_string())).unwrap();
        Tree { path: format!("/proc/self/fd/{}", directory.as_raw_fd()).into(), _directory: directory }
    }

    pub(crate) fn counters(&self) -> Snapshot {
        self.server.counters().snapshot()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // First the switch that nobody can block.
        let _ = self.connection.abort();
        let _ = detach(self.directory.path());
    }
}

/// A slot's root, held open.
pub(crate) struct Tree {
    path: PathBuf,
    _directory: fs::File,
}

impl Tree {
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        // The final `.` makes it the directory itself and not the link in /proc.
        self.path.join(if path.is_empty() { "." } else { path })
    }
}

/// An overlayfs.
pub(crate) struct Overlay {
    directory: TempDir,
}

impl Overlay {
    /// Topmost lowerdir first.
    pub(crate) fn of(lowers: &[PathBuf]) -> Self {
        let directory = scratch();
        for name in ["upper", "work", "merged"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let lowers: Vec<&str> = lowers.iter().map(|path| path.to_str().unwrap()).collect();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lowers.join(":"), at("upper"), at("work"));
        let options = CString::new(options).unwrap();
        rustix::mount::mount("overlay", at("merged"), "overlay", MountFlags::empty(), options.as_c_str())
            .unwrap();
        Self { directory }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("merged").join(path)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.at(""), UnmountFlags::DETACH);
    }
}

/// On a disk filesystem: overlayfs takes no upper directory on every tmpfs.
pub(crate) fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("peel-fusefs-").tempdir_in("/var/tmp").unwrap()
}

/// Runs `work` in a thread; fails when it takes too long. Who is stuck then is freed when the mount is dropped.
pub(crate) fn within<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    let thread = thread::spawn(move || send.send(work()));
    match receive.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("the thread ended without a result"),
        },
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} does not happen");
        thread::sleep(Duration::from_millis(2));
    }
}
