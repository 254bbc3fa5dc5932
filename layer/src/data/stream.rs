//! Chunks of formats that know a chunk's place in the uncompressed stream: its units are found from where those
//! begin there.

use std::ops::Range;

/// The units that hold the bytes `wanted` of the uncompressed stream, and where in the first of them (decoded) they
/// begin. `starts` says where each unit begins in the stream, rising from 0; units that hold nothing repeat the
/// offset of the next. Nothing for an empty range, and for one before the first unit.
pub(crate) fn locate(starts: &[u64], wanted: Range<u64>) -> Option<(Range<u32>, u64)> {
    if wanted.is_empty() {
        return None;
    }
    let first = starts.partition_point(|start| *start <= wanted.start).checked_sub(1)?;
    let end = starts.partition_point(|start| *start < wanted.end);
    let inner = wanted.start - starts.get(first)?;
    Some((u32::try_from(first).ok()?..u32::try_from(end).ok()?, inner))
}

#[cfg(test)]
mod tests {
    use super::locate;

    #[test]
    fn units_of_a_range() {
        let starts = [0, 10, 10, 20];
        assert_eq!(locate(&starts, 0..10), Some((0..1, 0)));
        assert_eq!(locate(&starts, 9..11), Some((0..3, 9)));
        assert_eq!(locate(&starts, 10..20), Some((2..3, 0)));
        assert_eq!(locate(&starts, 19..1000), Some((2..4, 9)));
        assert_eq!(locate(&starts, 25..26), Some((3..4, 5)));
        assert_eq!(locate(&starts, 5..5), None);
        assert_eq!(locate(&[], 0..1), None);
        assert_eq!(locate(&[7], 0..10), None);
    }
}
