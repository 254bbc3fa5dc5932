//! Files of several chunks, known by their own digest too.
//!
//! Layers cut the same file into different chunks: eStargz every 4 MiB, containers/storage where a rolling checksum
//! says so, Peel every MiB of what it streams. Their chunks' digests never meet; the file's does. So a chunk that is
//! missing can be copied out of the same file of another layer, however that one is cut. A file's digest is only what
//! the layer's index *claims*: what is copied has to have the digest of the receiver's chunk, like bytes from a registry.

use std::ops::Range;

use super::layout::{BY_DIGEST, FILE, FILE_DIGEST, digest_at, u32_at, u64_at};
use super::{LayerIndex, partition_point};
use crate::{DataOffset, FileDigest};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeFile {
    /// Its bytes in the data file, without padding.
    pub data: Range<DataOffset>,
    /// Of the whole file.
    pub digest: FileDigest,
}

impl<B: AsRef<[u8]>> LayerIndex<B> {
    /// The file of several chunks that has the byte at `at` of the data file.
    #[must_use]
    pub fn large_file_at(&self, at: DataOffset) -> Option<LargeFile> {
        let behind = partition_point(self.header.files, |number| self.large_file(number).data.start <= at);
        let file = self.large_file(behind.checked_sub(1)?);
        file.data.contains(&at).then_some(file)
    }

    /// A file of several chunks that is said to have this digest, if the layer has one.
    #[must_use]
    pub fn find_file(&self, digest: &FileDigest) -> Option<LargeFile> {
        let at = |rank| self.large_file(self.file_ranked(rank));
        let rank = partition_point(self.header.files, |rank| at(rank).digest < *digest);
        (rank < self.header.files).then(|| at(rank)).filter(|file| file.digest == *digest)
    }

    fn large_file(&self, number: u32) -> LargeFile {
        let at = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(FILE);
        let row = self.section(&self.sections.files).get(at..at.saturating_add(FILE)).unwrap_or_default();
        LargeFile {
            data: DataOffset(u64_at(row, 0)).span(u64_at(row, 8)),
            digest: FileDigest::from_bytes(digest_at(row, FILE_DIGEST)),
        }
    }

    fn file_ranked(&self, rank: u32) -> u32 {
        let at = usize::try_from(rank).unwrap_or(usize::MAX).saturating_mul(BY_DIGEST);
        u32_at(self.section(&self.sections.files_by_digest), at)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::Limits;
    use crate::stream::CHUNK;
    use crate::testing::{EStargzWriter, File, TarEntry, stream_whole, tar};

    fn entries() -> Vec<TarEntry> {
        let large: Vec<u8> = (0..CHUNK * 2 + 5).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let exact = large[..1 << 20].to_vec();
        vec![
            TarEntry::file("small", b"small"),
            TarEntry::file("large", &large),
            TarEntry::file("one chunk", &exact),
            TarEntry::file("again", &large),
        ]
    }

    fn check(index: &LayerIndex<Vec<u8>>) {
        let digest_of = |entry: &TarEntry| match &entry.file {
            File::Regular(content) => FileDigest::of(content),
            _ => unreachable!("all are files"),
        };
        let [small, large, exact, _] = &entries()[..] else { unreachable!("there are four") };
        let digest = digest_of(large);
        let first = index.find_file(&digest).unwrap();
        assert_eq!(first.data, DataOffset(4096)..DataOffset(4096 + CHUNK * 2 + 5));
        for (at, found) in [(0, false), (4095, false), (4096, true), (4096 + CHUNK * 2 + 4, true)] {
            let file = index.large_file_at(DataOffset(at));
            assert_eq!(file, found.then(|| first.clone()), "{at}");
        }
        assert!(index.large_file_at(first.data.end).is_none(), "padding is nobody's");
        assert!(index.large_file_at(index.data_size()).is_none());
        assert!(index.find_file(&digest_of(small)).is_none(), "its only chunk has its digest");
        assert!(index.find_file(&digest_of(exact)).is_none());
    }

    #[test]
    fn known_by_a_toc() {
        let layer = EStargzWriter::new().chunk_size(1 << 20).entries(&entries()).finish();
        check(&layer.index(&Limits::default()).unwrap().index);
    }

    #[test]
    fn learned_from_a_stream() {
        check(&stream_whole(&tar(&entries())).unwrap().index);
    }
}
