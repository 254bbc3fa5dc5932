#![expect(
    unsafe_code,
    reason = "the standard library has neither _exit nor signal, and cannot own what was inherited"
)]
//! How the process ends, and does not; and what it was given at its start.

use std::{
    ffi::c_int,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    sync::Once,
};

unsafe extern "C" {
    fn _exit(status: c_int) -> !;
    fn signal(signal: c_int, handler: usize) -> usize;
}

/// `SIG_IGN` (signal.h).
const IGNORE: usize = 1;

/// Ends the process without running destructors or exit handlers: a FUSE reply that is dropped unanswered is an
/// I/O error for its reader, while a request that nobody read is answered by the next daemon.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: _exit(2) takes any number, touches no memory of ours and does not return.
    unsafe { _exit(c_int::from(status)) }
}

/// Has the process go on when it is told to end by a signal that can be ignored.
pub fn ignore_termination() {
    use rustix::process::Signal;
    for number in [Signal::TERM, Signal::INT, Signal::HUP] {
        // SAFETY: signal(2) with SIG_IGN installs no code and takes any number; these can be ignored.
        unsafe { signal(number.as_raw(), IGNORE) };
    }
}

/// Sockets that the service manager passed (`sd_listen_fds(3)`). They are given out once: a second call gives none.
///
/// # Errors
/// The environment that names them makes no sense.
pub fn inherited_sockets() -> io::Result<Vec<OwnedFd>> {
    static ONCE: Once = Once::new();
    let mut sockets = Ok(Vec::new());
    ONCE.call_once(|| {
        sockets = sd_notify::listen_fds().map(|numbers| {
            // SAFETY: these numbers were passed to this process by $LISTEN_PID's word, nobody else here knows of them,
            // and this runs once.
            numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect()
        });
    });
    sockets
}

/// Gives the kernel back what the allocator holds and nobody uses. Building a large index takes hundreds of MiB for a
/// second, on whichever thread is free; the C library would keep them for that thread.
#[cfg(target_env = "gnu")]
pub fn trim_memory() {
    // SAFETY: malloc_trim(3) may be called at any time from any thread; it moves nothing that is in use.
    unsafe { libc::malloc_trim(0) };
}

/// Has the allocator keep little: two heaps for all threads, not eight a processor, of which each keeps 2 MiB at its end
/// and not twice its largest buffer. READs, of 1 MiB at most, still come from a heap; chunks go back to the kernel at
/// once. With 200 layers and a million files pulled, 30 MiB instead of 52 (`idle.anon_mib`, release build).
#[cfg(target_env = "gnu")]
pub fn keep_little_memory() {
    const KEPT: c_int = 2 << 20;
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, KEPT), (libc::M_TRIM_THRESHOLD, KEPT)]
    {
        // SAFETY: mallopt(3) takes any numbers and changes what later calls of malloc do.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other C libraries have other heaps.
#[cfg(not(target_env = "gnu"))]
pub fn keep_little_memory() {}

/// Other C libraries give memory back by themselves, or cannot be asked.
#[cfg(not(target_env = "gnu"))]
pub fn trim_memory() {}
