//! From chunks to requests.

use std::{collections::BTreeSet, ops::Range};

use peel_layer::{BlobOffset, ChunkId, LayerIndex};

use crate::Config;

/// One request: a range of the blob, and the chunks that it is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) range: Range<BlobOffset>,
    /// All units in it.
    pub(crate) units: Range<u32>,
    pub(crate) ids: Vec<ChunkId>,
}

impl Run {
    /// From the first of these chunks to the last.
    pub(crate) fn spanning<B: AsRef<[u8]>>(index: &LayerIndex<B>, ids: Vec<ChunkId>) -> Option<Self> {
        let (first, last) = (index.chunk(*ids.first()?), index.chunk(*ids.last()?));
        let units = first.units.start..last.units.end;
        Some(Self { range: index.range_of(&units), units, ids })
    }
}

/// As few requests as the limits allow. Chunks of one unit are always in one run; a chunk whose units are larger than
/// the limit is a run of its own.
pub(crate) fn runs<B: AsRef<[u8]>>(
    index: &LayerIndex<B>,
    ids: &BTreeSet<ChunkId>,
    config: &Config,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for id in ids {
        let units = index.chunk(*id).units;
        let range = index.range_of(&units);
        match runs.last_mut() {
            Some(run)
                if range.start.0 <= run.range.end.0.saturating_add(config.gap)
                    && (range.end <= run.range.end
                        || range.end.0.saturating_sub(run.range.start.0) <= config.range_max) =>
            {
                run.range.end = run.range.end.max(range.end);
                run.units.end = run.units.end.max(units.end);
                run.ids.push(*id);
            }
            _ => runs.push(Run { range, units, ids: vec![*id] }),
        }
    }
    runs
}

/// What comes along with `claimed` at next to no cost: the other chunks of its units, and, if `stretch`, what
/// follows in the blob up to [`Config::range_min`].
pub(crate) fn along<B: AsRef<[u8]>>(
    index: &LayerIndex<B>,
    claimed: &BTreeSet<ChunkId>,
    stretch: bool,
    config: &Config,
) -> Vec<ChunkId> {
    let mut ids: Vec<ChunkId> = Vec::new();
    let mut last = 0..0;
    for id in claimed {
        let units = index.chunk(*id).units;
        if last != units {
            ids.extend(index.chunks_within(units.clone()).map(ChunkId));
            last = units;
        }
    }
    if let (true, Some(first), Some(last)) = (stretch, claimed.first(), claimed.last()) {
        let start = index.blob_range(*first).start.0;
        let near = |id: &ChunkId| index.blob_range(*id).end.0.saturating_sub(start) <= config.range_min;
        ids.extend((last.0 + 1..index.chunk_count()).map(ChunkId).take_while(near));
    }
    ids
}
