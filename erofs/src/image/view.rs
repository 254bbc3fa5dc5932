//! Checked access to the bytes of an image.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// All bytes of an image. Offsets are 64 bits wide, as the image has them.
#[derive(Clone, Copy)]
pub(super) struct View<'a>(pub(super) &'a [u8]);

impl<'a> View<'a> {
    /// `length` bytes from `at`, if the image has them.
    pub(super) fn slice(self, at: u64, length: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(at).ok()?;
        let length = usize::try_from(length).ok()?;
        self.0.get(start..start.checked_add(length)?)
    }

    /// The record at `at`, if the image has all of it.
    pub(super) fn record<T: FromBytes + KnownLayout + Immutable + Unaligned>(self, at: u64) -> Option<&'a T> {
        let bytes = self.slice(at, size_of::<T>() as u64)?;
        T::ref_from_bytes(bytes).ok()
    }
}
