//! `make bench`: what Peel costs, beside what overlayfs costs in the same minute on the same machine.
//!
//! ```text
//!  runner ──▶ nodes (overlayfs | tree = "erofs" | tree = "fuse": one image, one container each, bytes local)
//!    │  └───▶ work, in a process of its own: one workload over a container's root, timed
//!    ├──────▶ first_pull (fresh nodes: an image that nobody converted, pulled and started)
//!    ├──────▶ mounts, daemon, update: what has no counterpart in overlayfs
//!    └──────▶ report (report.json) ──▶ plot (index.html)
//! ```
//!
//! Absolute numbers say more about the machine than about Peel, so every row that can have a baseline has one, and
//! both sides take turns within each round: what slows the machine down for a while slows both. `docs/benchmarking.md`
//! says how to read the result.

mod content;
mod daemon;
mod first_pull;
mod gc;
mod handover;
mod image;
mod index;
mod machine;
mod mounts;
mod nodes;
mod plot;
mod report;
mod runner;
mod samples;
mod selection;
mod update;
pub mod work;
pub mod workload;

pub use report::{Report, Row};
pub use runner::{Options, run};
pub use selection::Selection;
