//! Why bytes are fetched, which decides when.

use peel_cache::Urgency;

/// In order: a lower one goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// A reader waits.
    Demand,
    /// Somebody will read this soon: read-ahead, and what containerd reads itself.
    Prefetch,
    /// The rest of the image.
    Background,
}

impl Lane {
    /// All, first things first.
    pub const ALL: [Self; 3] = [Self::Demand, Self::Prefetch, Self::Background];

    /// As a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::Prefetch => "prefetch",
            Self::Background => "background",
        }
    }

    /// Who yields on a disk that is nearly full.
    pub(crate) const fn urgency(self) -> Urgency {
        match self {
            Self::Demand => Urgency::Demand,
            Self::Prefetch => Urgency::Ahead,
            Self::Background => Urgency::Background,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}
