//! `peel hold`: keeps file descriptors for a daemon that may die at any instruction.
//!
//! It knows nothing of what it keeps, holds no state but the descriptors, waits for nobody for longer than a second,
//! and is ended by its own command alone: what it keeps is lost with it. That makes it a program that no upgrade has
//! to replace. Storing is systemd's fd-store protocol (`sd_notify(3)`), so that a daemon may as well be kept by
//! systemd; getting back, which systemd does at exec, has a socket of its own. `docs/hand-over.md` has both.

mod client;
mod message;
mod server;
mod socket;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use client::Holder;
pub use server::{Held, hold};

/// What the command line says.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where daemons ask for what is kept; they store at the same path with `.notify` added
    #[arg(long, default_value = "/run/peel/hold.sock")]
    pub socket: PathBuf,
    /// End the holder that listens there: what it keeps and nobody else has open is closed
    #[arg(long)]
    pub stop: bool,
}

/// The `hold` role.
///
/// # Errors
/// The sockets cannot be made, or somebody holds there already; with `--stop`, nobody does.
pub fn run(options: &Options) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let socket = options.socket.display();
    if options.stop {
        return Holder::at(&options.socket).stop().with_context(|| format!("nobody holds at {socket}"));
    }
    let held = Held::listen(&options.socket).with_context(|| format!("cannot hold at {socket}"))?;
    crate::sys::ignore_termination();
    // Who is told starts the daemon after this: what is asked for then is answered.
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "the service manager was not told");
    }
    hold(held).with_context(|| format!("cannot hold at {socket} any longer"))
}
