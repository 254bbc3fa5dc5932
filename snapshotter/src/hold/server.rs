//! The holder's side.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::SocketType,
};

use super::{
    message::Notification,
    socket::{accept, bind, connect, notify_path, receive, send},
};

/// The answers' end.
pub(super) const END: &str = "END=1";
/// What can be asked for: the descriptors, their names, the holder's end.
pub(super) const GET: &str = "GET=1";
pub(super) const LIST: &str = "LIST=1";
pub(super) const STOP: &str = "STOP=1";

/// The sockets, and what is kept.
#[derive(Debug)]
pub struct Held {
    notify: OwnedFd,
    listener: OwnedFd,
    descriptors: BTreeMap<String, OwnedFd>,
}

impl Held {
    /// Listens at `socket`, and beside it for what is to be kept.
    ///
    /// # Errors
    /// `AddrInUse` when somebody holds there already; else the sockets cannot be made.
    pub fn listen(socket: &Path) -> io::Result<Self> {
        if connect(socket, SocketType::SEQPACKET).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody holds there already"));
        }
        let notify = bind(&notify_path(socket), SocketType::DGRAM)?;
        let listener = bind(socket, SocketType::SEQPACKET)?;
        Ok(Self { notify, listener, descriptors: BTreeMap::new() })
    }

    fn notified(&mut self) -> io::Result<()> {
        let (text, mut descriptors) = receive(&self.notify)?;
        match Notification::parse(&text) {
            // One descriptor has one name here: a second one replaces the first.
            Notification::Store(name) => {
                if let Some(descriptor) = descriptors.pop() {
                    self.descriptors.insert(name.to_owned(), descriptor);
                }
            }
            Notification::Remove(name) => drop(self.descriptors.remove(name)),
            // What came along is closed with its vector: that is the answer.
            Notification::Barrier | Notification::Other => {}
        }
        Ok(())
    }

    /// Answers one who asks; true if the holder is to end.
    fn asked(&self) -> io::Result<bool> {
        let peer = accept(&self.listener)?;
        let (request, _) = receive(&peer)?;
        let stop = request == STOP.as_bytes();
        if request == GET.as_bytes() || request == LIST.as_bytes() {
            for (name, descriptor) in &self.descriptors {
                let descriptor = [descriptor.as_fd()];
                let descriptors = if request == GET.as_bytes() { &descriptor[..] } else { &[] };
                send(&peer, &format!("FDNAME={name}"), descriptors)?;
            }
        }
        send(&peer, END, &[])?;
        Ok(stop)
    }
}

/// Keeps what comes and gives it to who asks, until it is told to end.
///
/// # Errors
/// The sockets failed.
pub fn hold(mut held: Held) -> io::Result<()> {
    loop {
        let mut sockets = [&held.notify, &held.listener].map(|it| PollFd::new(it, PollFlags::IN));
        match poll(&mut sockets, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [notified, asked] = [&sockets[0], &sockets[1]].map(|it| it.revents().contains(PollFlags::IN));
        // What was stored before somebody asks is there when he is answered. A peer that misbehaves, or died
        // meanwhile, is its own problem.
        if notified && let Err(error) = held.notified() {
            tracing::warn!(%error, "a notification was lost");
        }
        if asked && !notified {
            match held.asked() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "who asked was not answered"),
            }
        }
    }
}
