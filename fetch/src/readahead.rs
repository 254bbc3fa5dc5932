//! Noticing that somebody reads in order, and what he will read next.
//!
//! Seen from here a big file read in order and many small files read in the order of the layer are the same: reads
//! of the data file that follow each other. The kernel sends them from several threads, so "follow" is generous.

use std::ops::Range;

use peel_layer::DataOffset;

/// Readers of one layer that are told apart. More interleaved ones than this get no read-ahead.
const STREAMS: usize = 8;
/// How far a read may start from where the last one ended: reads overtake each other, and skip what is cached.
const SLACK: u64 = 512 << 10;
/// Nothing is fetched ahead before so many bytes were read in a row: opening a library reads a few pages of it.
const TRIGGER: u64 = 128 << 10;

/// The streams of one layer, most recent first.
#[derive(Debug, Default)]
pub(crate) struct Readahead {
    streams: Vec<Stream>,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    /// Where the last read ended.
    end: u64,
    /// Bytes read in a row.
    run: u64,
    /// What was asked for so far.
    ahead: u64,
}

impl Readahead {
    /// Takes note of a read; says what should be fetched ahead, if anything. The window is twice what was read in a
    /// row, up to `max`, and is asked for again when half of it is used up.
    pub(crate) fn observe(&mut self, range: &Range<DataOffset>, max: u64) -> Option<Range<DataOffset>> {
        let (start, end) = (range.start.0, range.end.0);
        let follows = |stream: &Stream| {
            start <= stream.end.saturating_add(SLACK) && end > stream.end.saturating_sub(SLACK)
        };
        let mut stream = match self.streams.iter().position(follows) {
            Some(position) => self.streams.remove(position),
            None => Stream { end: start, run: 0, ahead: end },
        };
        stream.run = stream.run.saturating_add(end.saturating_sub(stream.end.max(start)));
        stream.end = stream.end.max(end);
        stream.ahead = stream.ahead.max(stream.end);
        let window = stream.run.saturating_mul(2).min(max);
        let target = stream.end.saturating_add(window);
        let due = stream.run > TRIGGER && target.saturating_sub(stream.ahead) >= window / 2 && window > 0;
        let ahead = due.then_some(DataOffset(stream.ahead)..DataOffset(target));
        if due {
            stream.ahead = target;
        }
        self.streams.truncate(STREAMS - 1);
        self.streams.insert(0, stream);
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 4 << 20;

    fn read(readahead: &mut Readahead, start: u64, length: u64) -> Option<Range<u64>> {
        readahead.observe(&DataOffset(start).span(length), MAX).map(|range| range.start.0..range.end.0)
    }

    #[test]
    fn random_reads_fetch_nothing_ahead() {
        let mut readahead = Readahead::default();
        for position in [900, 100, 500, 300, 700, 200, 600] {
            assert_eq!(read(&mut readahead, position << 20, 128 << 10), None);
        }
    }

    #[test]
    fn a_sequential_reader_is_kept_ahead_of_without_gap_or_overlap() {
        let mut readahead = Readahead::default();
        let (mut asked, mut requests) = (128 << 10, 0);
        for step in 0..1024_u64 {
            if let Some(range) = read(&mut readahead, step * (128 << 10), 128 << 10) {
                assert!(range.start >= asked, "{range:?} overlaps what ends at {asked}");
                assert!(range.end - (step + 1) * (128 << 10) <= MAX);
                (asked, requests) = (range.end, requests + 1);
            }
        }
        assert!(asked >= 128 << 20);
        assert!(requests < 80, "{requests} requests for 128 MiB");
    }

    #[test]
    fn interleaved_readers_are_told_apart() {
        let mut readahead = Readahead::default();
        let mut hits = [false; 4];
        for step in 0..16_u64 {
            for reader in 0..4_u64 {
                let ahead = read(&mut readahead, (reader << 30) + step * (64 << 10), 64 << 10);
                hits[usize::try_from(reader).unwrap()] |= ahead.is_some();
            }
        }
        assert_eq!(hits, [true; 4]);
    }
}
