//! What the command line says.

use std::path::PathBuf;

/// What `peel check` looks at.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckOptions {
    /// Configuration file; every key has a default
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// State directory: trials are made on its filesystem
    #[arg(long, default_value = "/var/lib/peel")]
    pub root: PathBuf,
}

/// What `peel config check` looks at.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigOptions {
    /// Configuration file
    #[arg(long, default_value = "/etc/peel/config.toml")]
    pub config: PathBuf,
    /// The kubelet's imageGCLowThresholdPercent on this node
    #[arg(long, default_value_t = crate::config::KUBELET_LOW_PERCENT)]
    pub kubelet_low_percent: u8,
}

/// What the command line says.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Configuration file; every key has a default
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// State directory: metadata, snapshots, index, cache
    #[arg(long, default_value = "/var/lib/peel")]
    pub root: PathBuf,
    /// Socket for containerd
    #[arg(long, default_value = "/run/peel/peel.sock")]
    pub address: PathBuf,
    /// Socket for the peel command; by default control.sock beside the other
    #[arg(long)]
    pub control: Option<PathBuf>,
    /// Socket of the holder (`peel hold`) that keeps FUSE connections over this daemon's death; by default
    /// $PEEL_HOLDER, and without either containers do not outlive the daemon
    #[arg(long)]
    pub holder: Option<PathBuf>,
    /// At SIGTERM, unmount everything; refused, with an exit status of 1, while containers run on Peel
    #[arg(long)]
    pub unmount_on_exit: bool,
    /// Take the kernel for one that cannot send FUSE requests again (before 6.9)
    #[arg(long, hide = true)]
    pub assume_no_resend: bool,
}
