//! Unix sockets that carry descriptors. Nobody is waited for longer than [`LIMIT`].

use std::{
    fs, io,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};

use super::message::LONGEST;

/// Longest wait for the other side. Both sides only copy.
pub(super) const LIMIT: Duration = Duration::from_secs(1);
/// Most descriptors in one message; more are closed by the kernel.
const DESCRIPTORS: usize = 16;

/// Where descriptors are stored, if they are asked for at `socket`.
pub(super) fn notify_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".notify");
    path.into()
}

fn new(kind: SocketType) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// A socket of `kind` at `path`, which only root may use, in place of what was there.
pub(super) fn bind(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    // Not at its place before nobody else may use it.
    let mut made = path.as_os_str().to_owned();
    made.push(".new");
    match fs::remove_file(&made) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = new(kind)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(Path::new(&made))?)?;
    fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
    if kind != SocketType::DGRAM {
        rustix::net::listen(&socket, 16)?;
    }
    fs::rename(&made, path)?;
    Ok(socket)
}

/// A socket of `kind` that talks to the one at `path`.
pub(super) fn connect(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = new(kind)?;
    limit(&socket)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Who asks next; waits for one.
pub(super) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
    limit(&socket)?;
    Ok(socket)
}

fn limit(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(LIMIT))?;
    sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(LIMIT))?;
    Ok(())
}

/// Sends one message.
pub(super) fn send(socket: &OwnedFd, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next message; an empty text is the end of a connection.
pub(super) fn receive(socket: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut text = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut ancillary, flags)?;
    text.truncate(received.bytes);
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok((text, descriptors))
}
