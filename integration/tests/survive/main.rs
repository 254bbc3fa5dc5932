//! The daemon dies at any instruction while containers read, and nobody notices.
//!
//! ```text
//! cargo test -p peel-integration --test survive    # as root, on Debian 12, with peel built
//! ```

mod aborted;
mod fronts;
mod kills;
mod load;
mod old_kernel;
mod pending;
mod poison;
mod poison_stream;
mod pulls;
mod reset;
mod steps;
mod streamed;
mod unmounted;
mod upgrade;
