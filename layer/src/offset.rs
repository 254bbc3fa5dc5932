//! Offsets in a layer's two spaces, which are easily mixed up: the blob as the registry has it, and the data
//! file that Peel shows.

use std::{fmt, ops::Range};

macro_rules! offset_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// `length` bytes further, or nothing when that does not fit 64 bits.
            #[must_use]
            pub fn checked_add(self, length: u64) -> Option<Self> {
                self.0.checked_add(length).map(Self)
            }

            /// The range of `length` bytes from here, cut at the end of the space.
            #[must_use]
            pub fn span(self, length: u64) -> Range<Self> {
                self..Self(self.0.saturating_add(length))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

offset_type!(
    /// Bytes from the start of a layer's blob, usually compressed: what a range request counts in.
    BlobOffset
);
offset_type!(
    /// Bytes from the start of a layer's data file: every regular file has a 4 KiB-aligned place there,
    /// uncompressed, and zeros fill the gaps. The EROFS tree's extents, the cache's sparse file and READs of
    /// the data file all count in it.
    DataOffset
);
