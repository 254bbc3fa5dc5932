//! The socket that containerd dials.
//!
//! A socket file that nobody listens on costs containerd seconds (contract §5.5): so the file is made last, is
//! removed at exit, and one that a killed daemon left is replaced. One that the service manager listens on
//! (`peel.socket`) outlives the daemon: calls wait in it for the next.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use peel_proto::{
    containerd::services::snapshots::v1::snapshots_server::SnapshotsServer,
    peel::control::v1::control_server::ControlServer,
};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;

use super::SnapshotService;
use crate::control::ControlService;

/// Longest message in either direction, as containerd has it (defaults/defaults.go). tonic's own is 4 MiB.
const MAX_MESSAGE: usize = 16 << 20;
/// Calls at once on containerd's one connection. Those in the gate wait for a minute; others must not queue
/// behind them.
const MAX_STREAMS: u32 = 10_000;

/// A listening socket with a file, which only root may dial.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    is_own: bool,
}

impl Socket {
    /// Listens at `path`, in place of what a dead daemon left there.
    ///
    /// # Errors
    /// Another daemon listens there, or the file cannot be made.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        if UnixStream::connect(path).await.is_ok() {
            let cause = format!("somebody serves {} already", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, cause));
        }
        // Not at its place before nobody else may dial it.
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        Ok(Self { listener, path: path.to_owned(), is_own: true })
    }

    /// One that the service manager made, which must be at `path`.
    ///
    /// # Errors
    /// It is no unix stream socket that listens, or is elsewhere.
    pub fn inherited(socket: OwnedFd, path: &Path) -> io::Result<Self> {
        let listener = std::os::unix::net::UnixListener::from(socket);
        let address = listener.local_addr()?;
        if address.as_pathname() != Some(path) {
            let cause =
                format!("the service manager listens at {address:?}, and --address is {}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
        }
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, path: path.to_owned(), is_own: false })
    }

    /// Whether its file goes with this daemon.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connections that come in.
    #[must_use]
    pub fn incoming(self) -> UnixListenerStream {
        UnixListenerStream::new(self.listener)
    }
}

/// Answers containerd's calls until the process ends.
///
/// # Errors
/// The socket failed.
pub async fn serve(socket: Socket, service: SnapshotService) -> Result<(), tonic::transport::Error> {
    let snapshots = SnapshotsServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    tonic::transport::Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(snapshots)
        .serve_with_incoming(socket.incoming())
        .await
}

/// Answers the peel command until the process ends.
///
/// # Errors
/// The socket failed.
pub async fn serve_control(socket: Socket, service: ControlService) -> Result<(), tonic::transport::Error> {
    tonic::transport::Server::builder()
        .add_service(ControlServer::new(service))
        .serve_with_incoming(socket.incoming())
        .await
}
