//! What a round did, and how things stand.

use std::fmt;

use peel_layer::IndexKey;

use super::DiskUsage;

/// How eviction stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing to do.
    #[default]
    Idle,
    /// The mark cannot be reached, and why. Tried again at every round; what is read goes through memory.
    Stuck(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Stuck(reason) => write!(f, "stuck: {reason}"),
        }
    }
}

/// Why bytes of disk were freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No snapshot references the layer any more.
    Unreferenced,
    /// The filesystem reached its high watermark, whoever filled it.
    Watermark,
    /// The cache reached its own limit.
    SizeLimit,
    /// Somebody asked for it.
    ByHand,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Unreferenced, Self::Watermark, Self::SizeLimit, Self::ByHand];

    /// As numbers are labelled with it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreferenced => "unreferenced",
            Self::Watermark => "watermark",
            Self::SizeLimit => "size-limit",
            Self::ByHand => "by-hand",
        }
    }
}

/// What one layer gave, or would give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// The layer.
    pub key: IndexKey,
    /// Bytes of disk.
    pub bytes: u64,
    /// Chunks that are missing now.
    pub chunks: u64,
}

/// One round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// The filesystem, before.
    pub disk: DiskUsage,
    /// Bytes of disk that the cache took, before.
    pub cached: u64,
    /// Bytes that had to go; 0 when no round was due.
    pub wanted: u64,
    /// Bytes that went, the blocks of removed layers included.
    pub freed: u64,
    /// Layers that gave chunks.
    pub evicted: Vec<Evicted>,
    /// How things stand after it.
    pub state: State,
}
