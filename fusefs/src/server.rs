//! Serves one connection until it ends.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use peel_layer::serve::LayerSource;

use crate::{Connection, Counters, Handshake, InitParameters, Marks, drain::Drain};

/// What the connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// Whole trees: `<slot>` is a lowerdir. Opens are answered ENOSYS once.
    Trees,
    /// The bytes behind trees that the kernel has mounted as EROFS: `<slot>.data` is their extra device, opened
    /// with `FOPEN_DIRECT_IO`. One copy less in the page cache (1656 against 2436 MiB after reading 820 MB), and a
    /// bad answer heals instead of staying with the file (ceilings.md §9).
    Data,
}

/// How a connection is served.
#[derive(Clone, Debug)]
pub struct Config {
    /// What for.
    pub front: Front,
    /// Threads that take requests. They never wait for the network, so few are enough. But they sit in reads of the
    /// local disk, so they bound how many of those are under way: with four instead of two, four random readers of
    /// 4 KiB took 0.78 of the time, on two processors. Each has a buffer of 16 MiB of
    /// address space, hardly any of it touched.
    pub threads: NonZeroUsize,
    /// Largest READ in bytes. From 1 MiB on a larger one saves nothing, and the kernel allows no more before 6.13.
    pub max_request: u32,
    /// Background requests in flight, for all layers together. At the kernel's default of 12, or the FUSE
    /// crate's of 16, the read-ahead of one stalled layer stops all others (seen).
    pub max_background: u16,
    /// How far the kernel reads ahead, in KiB; none leaves the kernel's 128. The default fills one request. It
    /// is also the window that a page fault in a mapped file reads around it: more makes the first byte of a
    /// cold program later, and locally 8 MiB were no faster than 1 (ceilings.md, F7).
    pub read_ahead_kib: Option<u32>,
    /// Takes the kernel for one that cannot send requests again, to test what happens there.
    pub assume_no_resend: bool,
    /// Where what is executed is marked, for a successor to see.
    pub marks: Option<Marks>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            front: Front::Trees,
            threads: const { NonZeroUsize::new(4).unwrap() },
            max_request: 1 << 20,
            max_background: u16::MAX,
            read_ahead_kib: Some(1024),
            assume_no_resend: false,
            marks: None,
        }
    }
}

/// The threads that serve a connection. They do not end with this value: the daemon ends by `_exit`, and what is
/// not answered then waits in the kernel for a successor.
#[derive(Debug)]
pub struct Server {
    thread: JoinHandle<io::Result<()>>,
    device: OwnedFd,
    counters: Arc<Counters>,
    init: InitParameters,
    /// Where the kernel does not send again what was taken; and the number of session threads.
    coming_to_rest: Option<(Arc<Drain>, NonZeroUsize)>,
}

impl Server {
    /// Shakes hands with the kernel over `device`, which is mounted on `mount_point`, and starts to serve: for who
    /// has no successor. Else the outcome of the [`Handshake`] is to be kept first.
    ///
    /// # Errors
    /// As [`Handshake::first`] and [`Handshake::serve`].
    pub fn start(
        device: OwnedFd,
        mount_point: &Path,
        source: Arc<dyn LayerSource>,
        config: &Config,
    ) -> io::Result<Self> {
        Handshake::first(device, source, config)?.serve(mount_point, |_| {})
    }

    /// `run` is what serves; `ended` hears why it stopped.
    pub(crate) fn spawn(
        (device, counters, init): (OwnedFd, Arc<Counters>, InitParameters),
        coming_to_rest: Option<(Arc<Drain>, NonZeroUsize)>,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
        ended: impl FnOnce(&io::Result<()>) + Send + 'static,
    ) -> io::Result<Self> {
        let thread = thread::Builder::new().name("peel-fuse".into()).spawn(move || {
            let outcome = run();
            ended(&outcome);
            outcome
        })?;
        Ok(Self { thread, device, counters, init, coming_to_rest })
    }

    /// Before the process ends: where the kernel cannot send requests again, no other is taken, and those that were
    /// are answered, within `limit`; else this returns at once. Gives the number of those that are not: they end with
    /// an error. `mount_point` is where the connection is mounted. Nobody is served any more afterwards.
    #[must_use]
    pub fn come_to_rest(&self, mount_point: &Path, limit: Duration) -> usize {
        match &self.coming_to_rest {
            Some((drain, threads)) => drain.run(threads.get(), mount_point, limit),
            None => 0,
        }
    }

    /// What was asked so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What was agreed with the kernel.
    #[must_use]
    pub fn init_parameters(&self) -> &InitParameters {
        &self.init
    }

    /// The connection's device: to be kept for a successor, and to mount the connection again.
    #[must_use]
    pub fn device(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Whether requests are still taken; false once the connection was aborted or its last mount is gone.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits until the connection has ended, by [`Connection::abort`] or with its last mount.
    ///
    /// # Errors
    /// Why a thread stopped, when it was not for that.
    pub fn join(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("a session thread panicked")))
    }
}

/// After INIT, which lowers it. Logged only: without sysfs things are slower, not wrong.
pub(crate) fn raise_read_ahead(mount_point: &Path, config: &Config) {
    if let Some(kib) = config.read_ahead_kib
        && let Err(error) = Connection::at(mount_point).and_then(|it| it.set_read_ahead(kib))
        // One that is out of sight already had its own when it began.
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, mount_point = %mount_point.display(), "read-ahead stays at the kernel's default");
    }
}
