//! The `peel` command: the daemon, and what asks it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use peel_snapshotter::{cli, daemon, hold, idmap, logging, reset, supervise, take_down};

/// A containerd snapshotter: pods start before their image is downloaded
#[derive(Debug, Parser)]
#[command(name = "peel", version)]
struct Command {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serve containerd
    Serve(daemon::Options),
    /// Say what this node's kernel can do, and what follows
    Check(daemon::CheckOptions),
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        what: ConfigRole,
    },
    /// Keep what a daemon has open over its death
    Hold(hold::Options),
    /// Run a command again whenever it ends, and keep what it has open: for nodes without systemd
    Supervise(supervise::Options),
    /// Unmount everything of a daemon that was stopped; refused while containers run on it
    Unmount(take_down::Options),
    /// Give up the state of a daemon that was stopped, damaged or not; refused while containers run on it
    Reset(take_down::Stopped),
    /// Be the first process of a user namespace; for the daemon's own use
    #[command(hide = true)]
    UserNamespace,
    /// Show what the cache holds and what was fetched
    Stats(cli::Query),
    /// Show every layer: whose it is and why, and how much of it is here
    Layers(cli::Query),
    /// Show images that are being pulled, and how far each layer is
    Pulls(cli::Pulls),
    /// Evict from the cache now, down to the low watermark or to --to
    Gc(cli::Gc),
    /// Check all that is on the disk, beside a running daemon or without one; exit status 1 if something is wrong with it
    Fsck(cli::Fsck),
    /// Evict everything of an image or a layer; it is fetched again when it is read
    Evict(cli::Evict),
}

#[derive(Debug, Subcommand)]
enum ConfigRole {
    /// Say whether the file can be used, and what in it is probably not meant so
    Check(daemon::ConfigOptions),
}

fn main() -> ExitCode {
    logging::begin();
    let outcome = match Command::parse().role {
        // Small for ever: no runtime.
        Role::Hold(options) => hold::run(&options),
        Role::Supervise(options) => supervise::run(&options),
        // No thread yet: a process of several cannot enter a user namespace.
        Role::UserNamespace => idmap::child(),
        Role::Unmount(options) => take_down::run(&options).and_then(print),
        Role::Reset(options) => reset::run(&options).and_then(print),
        Role::Check(options) => daemon::check(&options).and_then(print),
        Role::Config { what: ConfigRole::Check(options) } => daemon::check_config(&options).and_then(print),
        role => {
            peel_snapshotter::sys::keep_little_memory();
            run(role)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The roles that talk.
#[tokio::main]
async fn run(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Serve(options) => match daemon::serve(options).await {},
        Role::Stats(query) => cli::stats(&query).await.and_then(print),
        Role::Layers(query) => cli::layers(&query).await.and_then(print),
        Role::Pulls(query) => cli::pulls(&query).await.and_then(print),
        Role::Gc(options) => cli::gc(&options).await.and_then(print),
        Role::Fsck(options) => cli::fsck(&options, print).await,
        Role::Evict(options) => cli::evict(&options).await.and_then(print),
        Role::Hold(_)
        | Role::Supervise(_)
        | Role::Check(_)
        | Role::Unmount(_)
        | Role::Reset(_)
        | Role::Config { .. }
        | Role::UserNamespace => Ok(()),
    }
}

/// Data goes to stdout, everything else to stderr. A reader that went away (`peel layers | head`) is no error.
fn print(text: String) -> anyhow::Result<()> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
