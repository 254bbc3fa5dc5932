//! Ordinary images, which nobody converted: streamed once, then served like any other.
//!
//! ```text
//! cargo test -p peel-integration --test plain    # as root, on Debian 12, with peel built
//! ```

mod killed;
mod resumed;
mod wrong_bytes;
