//! Keeping the cache under its limits: what decides, apart from what does.
//!
//! Usage is the kubelet's: 100 − available/capacity of the filesystem ([`DiskUsage`]). At the high watermark, or when a
//! reader's chunk finds no room below it, a round begins ([`round`]): it computes once how much has to go to be at the
//! low watermark ([`limits`]), lets the owner of the layers remove those that no snapshot references, and then evicts
//! chunk groups in the order of [`order`] until the blocks that it *counted* are enough. Freed blocks may reach statfs
//! late; until then they count as available ([`pending`]), so that no round evicts twice for the same bytes.
//!
//! Filling stops before eviction begins ([`gauge`]): background first, then what is fetched ahead, then demand. A chunk
//! that finds no room is served from memory. A layer that is streamed cannot be: it waits for eviction ([`gauge`]).
//!
//! Where other data keep the disk full, there is nothing to win: below `min_bytes` nothing is evicted, fills are
//! refused, so nothing is evicted twice, and the state says why ([`State::Stuck`]).

mod gauge;
mod limits;
mod order;
mod pending;
mod report;
mod round;

#[cfg(test)]
mod tests;

pub use gauge::Urgency;
pub use limits::{DiskUsage, Limits};
pub use report::{Cause, Evicted, Round, State};
pub use round::{LayerUsers, Manual, Use};

pub(crate) use gauge::{Gauge, PATIENCE};
pub(crate) use round::Collector;
