//! The daemon's side.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::SocketType,
    pipe::{PipeFlags, pipe_with},
};

use super::{
    server::{END, GET, LIST, STOP},
    socket::{LIMIT, connect, notify_path, receive, send},
};

/// The holder that listens at a path. Nothing is kept open between calls, so a holder may come and go.
#[derive(Debug, Clone)]
pub struct Holder {
    socket: PathBuf,
}

impl Holder {
    /// The one at `socket`.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What is kept, by name.
    ///
    /// # Errors
    /// Nobody holds there, or no answer came within a second.
    pub fn get(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let answers = self.ask(GET)?;
        Ok(answers.into_iter().filter_map(|(name, descriptor)| Some((name, descriptor?))).collect())
    }

    /// Names of what is kept.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.ask(LIST)?.into_iter().map(|(name, _)| name).collect())
    }

    /// Has `descriptor` kept under `name`, in place of what has that name. It is kept when this returns.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn store(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.notify(&format!("FDSTORE=1\nFDNAME={name}"), &[descriptor])
    }

    /// Has what is kept under `name` closed.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.notify(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
    }

    /// Ends the holder. What it kept and nobody else has open is closed.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn stop(&self) -> io::Result<()> {
        self.ask(STOP).map(drop)
    }

    fn ask(&self, request: &str) -> io::Result<Vec<(String, Option<OwnedFd>)>> {
        let socket = connect(&self.socket, SocketType::SEQPACKET)?;
        send(&socket, request, &[])?;
        let mut answers = Vec::new();
        loop {
            let (text, mut descriptors) = receive(&socket)?;
            match str::from_utf8(&text).ok().and_then(|text| text.strip_prefix("FDNAME=")) {
                Some(name) => answers.push((name.to_owned(), descriptors.pop())),
                None if text == END.as_bytes() => return Ok(answers),
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, "no holder's answer")),
            }
        }
    }

    /// Sends, and waits until it was acted upon: the holder takes messages in their order, and closes what comes with
    /// the last.
    fn notify(&self, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = connect(&notify_path(&self.socket), SocketType::DGRAM)?;
        send(&socket, text, descriptors)?;
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        send(&socket, "BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        let mut closed = [PollFd::new(&ours, PollFlags::empty())];
        let limit = Timespec::try_from(LIMIT).map_err(io::Error::other)?;
        match poll(&mut closed, Some(&limit))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}
