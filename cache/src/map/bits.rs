//! One bit a chunk, in memory: a million chunks take 125 KB.

use std::sync::atomic::Ordering;

use super::sync::AtomicU64;

/// Bits that any thread sets, clears and reads.
#[derive(Debug, Default)]
pub(crate) struct AtomicBits {
    words: Box<[AtomicU64]>,
}

/// Place of a chunk's bit: word, and mask in the word.
fn place(id: u32) -> (usize, u64) {
    (usize::try_from(id / 64).unwrap_or(usize::MAX), 1 << (id % 64))
}

/// Words that `chunks` bits take.
pub(super) fn word_count(chunks: u32) -> usize {
    usize::try_from(chunks.div_ceil(64)).unwrap_or(usize::MAX)
}

impl AtomicBits {
    /// From words as they were stored, cut or filled up to `chunks`; bits beyond it are dropped.
    pub(crate) fn new(chunks: u32, words: impl IntoIterator<Item = u64>) -> Self {
        let mut words: Vec<u64> =
            words.into_iter().chain(std::iter::repeat(0)).take(word_count(chunks)).collect();
        if let (Some(last), 1..) = (words.last_mut(), chunks % 64) {
            *last &= (1 << (chunks % 64)) - 1;
        }
        Self { words: words.into_iter().map(AtomicU64::new).collect() }
    }

    /// Every chunk is there.
    pub(crate) fn full(chunks: u32) -> Self {
        Self::new(chunks, std::iter::repeat_n(u64::MAX, word_count(chunks)))
    }

    /// The bits of `other` as of now, for `chunks` chunks.
    pub(crate) fn copy(chunks: u32, other: &Self) -> Self {
        Self::new(chunks, other.snapshot())
    }

    /// The bits of either as of now, for `chunks` chunks.
    pub(crate) fn union(chunks: u32, one: &Self, other: &Self) -> Self {
        let words = one.snapshot().into_iter();
        let others = other.snapshot().into_iter().chain(std::iter::repeat(0));
        Self::new(chunks, words.zip(others).map(|(word, other)| word | other))
    }

    /// Acquire: who sees the bit, sees the bytes. (Sequentially consistent because of [`crate::pins`].)
    pub(crate) fn get(&self, id: u32) -> bool {
        let (word, mask) = place(id);
        self.words.get(word).is_some_and(|word| word.load(Ordering::SeqCst) & mask != 0)
    }

    /// Sets the bit; says whether it was clear.
    pub(super) fn set(&self, id: u32) -> bool {
        let (word, mask) = place(id);
        self.words.get(word).is_some_and(|word| word.fetch_or(mask, Ordering::SeqCst) & mask == 0)
    }

    /// Clears the bit; says whether it was set.
    pub(super) fn clear(&self, id: u32) -> bool {
        let (word, mask) = place(id);
        self.words.get(word).is_some_and(|word| word.fetch_and(!mask, Ordering::SeqCst) & mask != 0)
    }

    /// Clears what `other` does not have.
    pub(crate) fn intersect(&self, other: &Self) {
        for (number, word) in self.words.iter().enumerate() {
            let other = other.words.get(number).map_or(0, |other| other.load(Ordering::SeqCst));
            word.fetch_and(other, Ordering::SeqCst);
        }
    }

    /// No bit of `other` is missing here.
    pub(crate) fn has_all_of(&self, other: &Self) -> bool {
        self.snapshot().into_iter().zip(other.snapshot()).all(|(ours, theirs)| theirs & !ours == 0)
    }

    /// The word that holds the bit of `id`: its number and value.
    pub(super) fn word_of(&self, id: u32) -> (usize, u64) {
        let (word, _) = place(id);
        (word, self.words.get(word).map_or(0, |word| word.load(Ordering::SeqCst)))
    }

    /// All words as of now, each for itself.
    pub(super) fn snapshot(&self) -> Vec<u64> {
        self.words.iter().map(|word| word.load(Ordering::SeqCst)).collect()
    }

    /// Chunks whose bit is set, in rising order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(self.snapshot()).flat_map(|(number, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| number * 64 + bit)
        })
    }

    /// No bit is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }
}
