//! The filesystem as the kernel sees it. Needs root, /dev/fuse and overlayfs.
//!
//! Whatever goes wrong, nothing may hang: [`Mounted`](harness::Mounted) aborts its connection when it is dropped,
//! and what could wait runs in [`within`](harness::within).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;
mod fixture;
mod hand_over;
mod harness;
mod overlay;
mod quiet;
mod same;
mod source;
mod waiting;
