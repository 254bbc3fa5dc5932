//! The cache on a small disk of its own: watermarks, other people's data, deletion, crashes.
//!
//! ```text
//! cargo test -p peel-integration --test cache    # as root, on Debian 12, with peel built
//! ```

mod crash;
mod full;
mod ground;
mod pressure;
mod reload;
mod streams;
mod usage;
