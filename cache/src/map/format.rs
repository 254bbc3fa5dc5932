//! The map files' bytes (docs/cache-on-disk.md). All integers little-endian.

use sha2::{Digest as _, Sha256};

use super::bits::{self, AtomicBits};
use crate::BootId;

const MAGIC: [u8; 8] = *b"PEELMAP\x1a";
/// Of the file of learned digests.
const LEARNED_MAGIC: [u8; 8] = *b"PEELLRN\x1a";
/// Raised when the layout of map or data file changes; files of another version are dropped, never converted.
const VERSION: u32 = 1;
/// Of the header; the bits follow it.
pub(super) const HEADER_BYTES: usize = 128;
/// Of the sha256 at the end of a durable map. A live map has none, because it changes in place.
const CHECKSUM_BYTES: usize = 32;

/// What a map belongs to. A map that differs in any of it says nothing about this data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Bits in the map.
    pub(crate) chunks: u32,
    /// Length of the data file.
    pub(crate) data_size: u64,
    /// Of the data file: a new, empty one is not the one that was filled.
    pub(crate) inode: u64,
    /// Of the tree image, which holds every file's place: an index that was built anew with other places
    /// makes the data worthless.
    pub(crate) tree: [u8; 32],
}

/// The header of the file of learned digests: they are true after any crash, so no boot is in it.
pub(super) fn learned_header(identity: &Identity) -> [u8; HEADER_BYTES] {
    let mut header = header(identity, BootId::from_bytes([0; 16]));
    header[..8].copy_from_slice(&LEARNED_MAGIC);
    header
}

fn header(identity: &Identity, boot: BootId) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&identity.chunks.to_le_bytes());
    header[16..24].copy_from_slice(&identity.data_size.to_le_bytes());
    header[24..32].copy_from_slice(&identity.inode.to_le_bytes());
    header[32..64].copy_from_slice(&identity.tree);
    header[BOOT].copy_from_slice(boot.as_bytes());
    header
}

/// Where the header has the boot id.
const BOOT: std::ops::Range<usize> = 64..80;

fn encode(identity: &Identity, boot: BootId, bits: &AtomicBits) -> Vec<u8> {
    let mut file = header(identity, boot).to_vec();
    file.extend(bits.snapshot().into_iter().flat_map(u64::to_le_bytes));
    file
}

/// The bits of a map and the boot that it was written in, if it is a map of `identity`.
fn decode(identity: &Identity, file: &[u8]) -> Option<(BootId, AtomicBits)> {
    let (found, words) = file.split_at_checked(HEADER_BYTES)?;
    let boot = BootId::from_bytes(found.get(BOOT)?.try_into().ok()?);
    if found != header(identity, boot) || words.len() != bits::word_count(identity.chunks) * 8 {
        return None;
    }
    let words = words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    Some((boot, AtomicBits::new(identity.chunks, words)))
}

pub(super) fn encode_live(identity: &Identity, boot: BootId, bits: &AtomicBits) -> Vec<u8> {
    encode(identity, boot, bits)
}

/// The bits of a live map, unless it is of another file, version or boot.
pub(super) fn decode_live(identity: &Identity, boot: BootId, file: &[u8]) -> Option<AtomicBits> {
    decode(identity, file).and_then(|(found, bits)| (found == boot).then_some(bits))
}

pub(crate) fn encode_durable(identity: &Identity, boot: BootId, bits: &AtomicBits) -> Vec<u8> {
    let mut file = encode(identity, boot, bits);
    let checksum: [u8; CHECKSUM_BYTES] = Sha256::digest(&file).into();
    file.extend(checksum);
    file
}

/// The bits of a durable map of any boot, unless it is damaged or of another file or version.
pub(crate) fn decode_durable(identity: &Identity, file: &[u8]) -> Option<AtomicBits> {
    let (map, checksum) = file.split_at_checked(file.len().checked_sub(CHECKSUM_BYTES)?)?;
    let found: [u8; CHECKSUM_BYTES] = Sha256::digest(map).into();
    (found == checksum).then(|| decode(identity, map))?.map(|(_, bits)| bits)
}
