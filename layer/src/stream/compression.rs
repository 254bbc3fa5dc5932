//! Which compression a blob has.

/// gzip's magic and its only method (RFC 1952), as containerd looks for it.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
/// Magic of a zstd frame (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Magic of a zstd skippable frame, its first byte being 0x50 to 0x5f (RFC 8878, 3.1.2).
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Bytes that [`Compression::detect`] looks at.
pub(super) const MAGIC: usize = 4;

/// How a blob is compressed, as its media type announces it.
///
/// containerd believes only OCI's type for plain tar; of every other one it looks at the first bytes, and so does
/// [`super::Decompressor`] (`compressedHandler` and `DecompressStream`; a blob without bytes is an empty tar).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `…tar+gzip`, `….tar.gzip`. May turn out to be any other.
    Gzip,
    /// `…tar+zstd`. May turn out to be any other.
    Zstd,
    /// Docker's `…rootfs.diff.tar`: clients have used it for compressed layers too.
    Unknown,
    /// OCI's `…layer.v1.tar`: the blob is the tar, whatever its first bytes are.
    None,
}

impl Compression {
    /// What the first bytes of a blob say; never [`Compression::Unknown`].
    #[must_use]
    pub fn detect(start: &[u8]) -> Self {
        match start {
            _ if start.starts_with(&GZIP) => Self::Gzip,
            _ if start.starts_with(&ZSTD) => Self::Zstd,
            [0x50..=0x5f, rest @ ..] if rest.starts_with(&ZSTD_SKIPPABLE) => Self::Zstd,
            _ => Self::None,
        }
    }
}
