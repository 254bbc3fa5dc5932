//! A connection goes from one process to the next.
//!
//! The kernel shakes hands once in a connection's life; the FUSE crate wants to do so at each start. So a
//! successor lets it: over a socket pair, into which it has written the INIT request that the kernel once sent,
//! rebuilt from what the predecessor recorded. The reply is thrown away: the kernel knows it. Then the real device
//! takes the place of the socket under the session's descriptor, and the session reads the kernel from there on.
//!
//! What the predecessor read and did not answer, the kernel sends again when told to (`FUSE_NOTIFY_RESEND`, from
//! 6.9), with bit 63 set in the request's number; the answer echoes the number as it came. Only once the predecessor
//! is surely dead, or two processes answer the same request.
//!
//! Older kernels cannot: such a request would wait for ever, and so would its reader, whom nobody could kill. There
//! the session reads through a second queue, which dies with the process and its requests with it, with an error.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use fuser::InitFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::InitParameters;

/// `FUSE_INIT`.
const INIT: u32 = 26;
/// Bytes of `fuse_in_header` and of `fuse_init_in`.
const HEADER: u32 = 40;
const INIT_IN: u32 = 64;
/// From this protocol version on the flags have 64 bits.
const WIDE_FLAGS: u32 = 36;
/// `FUSE_NOTIFY_RESEND` of `enum fuse_notify_code`.
const RESEND: u32 = 7;
/// Bytes of `fuse_out_header`.
const OUT_HEADER: u32 = 16;

/// The socket end for a session's handshake, with the INIT request in it, and the other end.
pub(crate) fn rehearsal(init: &InitParameters) -> io::Result<(OwnedFd, OwnedFd)> {
    let (session, other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::send(&other, &init_request(init), SendFlags::NOSIGNAL)?;
    Ok((session, other))
}

/// The INIT request that led to `init`, in this machine's byte order.
fn init_request(init: &InitParameters) -> Vec<u8> {
    let mut flags = init.offered;
    if init.kernel_minor >= WIDE_FLAGS {
        flags |= InitFlags::FUSE_INIT_EXT.bits();
    }
    let halves = [flags & u64::from(u32::MAX), flags >> 32].map(|half| u32::try_from(half).unwrap_or(0));
    let mut request = Vec::new();
    for word in [HEADER + INIT_IN, INIT] {
        request.extend(word.to_ne_bytes());
    }
    // The request's number, as good as any; node, caller and extensions stay 0.
    request.extend(1_u64.to_ne_bytes());
    request.resize(HEADER as usize, 0);
    for word in [init.kernel_major, init.kernel_minor, init.max_readahead, halves[0], halves[1]] {
        request.extend(word.to_ne_bytes());
    }
    request.resize((HEADER + INIT_IN) as usize, 0);
    request
}

/// Throws away the session's answer to the rehearsed handshake.
///
/// # Errors
/// The session refused the handshake.
pub(crate) fn discard_reply(other: &OwnedFd) -> io::Result<()> {
    let mut reply = [0_u8; 256];
    let (length, _) = rustix::net::recv(other, &mut reply, RecvFlags::DONTWAIT)?;
    let error = reply.get(4..8).filter(|_| length >= OUT_HEADER as usize);
    match error {
        Some([0, 0, 0, 0]) => Ok(()),
        _ => Err(io::Error::other("the recorded handshake was refused")),
    }
}

/// Has the kernel send again what was read through `device` and never answered.
///
/// # Errors
/// EINVAL where the kernel cannot.
pub(crate) fn resend(device: BorrowedFd<'_>) -> io::Result<()> {
    let mut notification = Vec::new();
    for word in [OUT_HEADER, RESEND, 0, 0] {
        notification.extend(word.to_ne_bytes());
    }
    rustix::io::write(device, &notification)?;
    Ok(())
}

/// Whether the connection of `device` is still one: mounted, or at least in use, and not aborted. Asks the kernel
/// alone, not the filesystem.
#[must_use]
pub fn is_alive(device: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok_and(|ready| ready == 0)
}

#[cfg(test)]
mod tests;
