//! The Snapshots service over its socket, as containerd calls it.
//!
//! `suite_*` are the behaviours of containerd's own test suite for snapshotters (contract §7.1); the rest is what
//! that suite leaves out. All but `remote` and `leases` talk to the built daemon. Mounts are real, so root is needed.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod client;
mod crash;
mod daemon;
mod hand_over;
mod idmap;
mod leases;
mod mounted;
mod remote;
mod restart;
mod rpc;
mod suite_layers;
mod suite_metadata;
mod suite_mounts;
mod tree;

use client::Client;
use daemon::Daemon;
use mounted::Mounted;
