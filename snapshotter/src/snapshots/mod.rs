//! What ordinary snapshots are on disk, and how snapshots of all kinds are mounted.
//!
//! `snapshots/<id>/fs` is a snapshot's own tree (the upper directory while it is active), `work` beside it is
//! overlayfs' scratch. All lower directories lie under the same root with short names: containerd shortens long
//! option strings to paths relative to their common directory, so that more than a hundred layers fit one page
//! (contract §3.2).

mod directories;
mod mounts;
mod trash;
mod usage;

pub use directories::{Directories, Owner};
pub use mounts::{OverlayOptions, mount};
pub use usage::disk_usage;
