//! What a layer's index may cost before it is refused. An index is written by whoever made the image.

/// Limits on what is read while an index is made. Exceeding one refuses the layer; containerd then pulls it as on
/// overlayfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a TOC as it lies in the blob. They are held in memory while it is read. An entry takes 45 to 60: half of
    /// that is its digest.
    pub toc_compressed: u64,
    /// Bytes of a TOC's JSON. It is parsed as a stream and never held. stargz writes some 400 for an entry, so that as
    /// many as `entries` allows fit.
    pub toc_json: u64,
    /// Entries of a TOC, and nodes of its tree (entries and the directories that they imply). A node costs a few
    /// hundred bytes while the tree is built.
    pub entries: u64,
    /// Bytes of one string in JSON, which the parser must hold. The longest that means anything is an xattr's
    /// value: 64 KiB, in base64 88 KiB.
    pub json_string: usize,
    /// Path components looked up in the whole layer while parents and links are resolved. An honest entry takes a
    /// dozen; a chain of long symlinks can take a million.
    pub lookups: u64,
    /// Chunks of a streamed layer. One costs 56 bytes while the layer is streamed; a layer has one for each file that is
    /// not empty, one more for each MiB of larger files, and one for each piece of a sparse file.
    pub chunks: u64,
    /// Bytes of a SOCI ztoc, which is held in memory while it is read: 32 KiB for each 4 MiB of the layer by default,
    /// so this is a layer of 16 GiB.
    pub ztoc: u64,
    /// Bytes of all paths of implied directories, each with a NUL. Deep paths that share nothing grow with the
    /// square of the TOC.
    pub implied_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            toc_compressed: 128 << 20,
            toc_json: 1 << 30,
            entries: 2_000_000,
            json_string: 1 << 20,
            lookups: 100_000_000,
            chunks: 4_000_000,
            ztoc: 128 << 20,
            implied_bytes: 16 << 20,
        }
    }
}
