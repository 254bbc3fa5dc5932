//! One round of eviction: looks, decides with the rest of this module, does, and counts.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use peel_layer::{ChunkId, IndexKey};

use super::{
    Cause, DiskUsage, Evicted, Limits, Round, State,
    limits::{Goal, HIGH},
    order::{self, Group},
    pending::Pending,
};
use crate::{Cache, CacheError, Layer, disk};

/// Who needs a layer; what goes first comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// No snapshot stands for it.
    Unreferenced,
    /// An image has it, and no container runs on it.
    Idle,
    /// A container stands on it.
    Running,
}

/// What eviction has to know of the layers, and leaves to their owner.
pub trait LayerUsers {
    /// Removes ([`Cache::remove`]) layers that no snapshot references: at once, or those whose time has come.
    fn release(&self, at_once: bool);

    /// How layers are used; one that is not in it is unreferenced. Nothing if it cannot be found out: then all count
    /// as [`Use::Idle`].
    fn uses(&self) -> Option<HashMap<IndexKey, Use>>;
}

/// A round that somebody asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manual {
    /// Usage of the filesystem in percent to go down to; without it, the low watermark.
    pub to_percent: Option<u8>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What is remembered from round to round.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pending: Option<Pending>,
    state: State,
}

/// Blocks of a data file beyond those of its present chunks that are left alone: the filesystem's own bookkeeping, and
/// chunks on their way. What is more was left by a process that died between writing and saying so.
const SLACK: u64 = 1 << 20;

impl Cache {
    /// Does what is due: unreferenced layers are removed, and at the high watermark chunks are evicted down to the low
    /// one. Blocks on the disk; one at a time. Without limits ([`crate::Config::limits`]) only the former.
    ///
    /// # Errors
    /// The filesystem cannot be asked. A layer that cannot be evicted from was logged and passed over.
    pub fn collect(&self, users: &dyn LayerUsers, manual: Option<Manual>) -> Result<Round, CacheError> {
        let Some(limits) = self.gauge().limits() else {
            users.release(false);
            return Ok(Round::default());
        };
        let mut collector = self.collector.lock();
        let pressed = self.gauge().take_pressed();
        let (before, cached) = self.measure()?;
        let sum = before.available + cached;
        let now = Instant::now();
        let credit = collector.pending.map_or(0, |pending| pending.credit(sum, now));
        let disk = DiskUsage { available: before.available + credit, ..before };
        let dry_run = manual.is_some_and(|manual| manual.dry_run);
        let goal = match manual {
            Some(manual) => {
                Some(limits.goal_at(&disk, cached, manual.to_percent.unwrap_or(limits.low_percent)))
            }
            None => limits.goal(&disk, cached, pressed),
        };
        if !dry_run {
            users.release(manual.is_some() || limits.above_low(&disk, cached));
        }
        let removed = cached.saturating_sub(self.cached_bytes());
        let mut round = Round { disk: before, cached, freed: removed, ..Round::default() };
        if let Some(goal) = goal {
            round.wanted = goal.wanted;
            self.evict_groups(users, goal, dry_run, &mut round);
        }
        if dry_run {
            round.state = collector.state.clone();
            return Ok(round);
        }
        let (after, left) = self.measure()?;
        // Most filesystems show at once what was freed: then what is missing later was written by others.
        let missing = (sum + credit).saturating_sub(after.available + left).min(round.freed + credit);
        if round.freed > 0 {
            collector.pending = Some(Pending::new(sum + credit, missing, now + self.pending_patience()));
        }
        if manual.is_none() {
            // What is pending is there soon.
            let soon = DiskUsage { available: after.available + missing, ..after };
            collector.enter(stand(&limits, &soon, left, goal, &round));
            self.gauge().set_stuck(collector.state != State::Idle);
        }
        self.gauge().round_ended(is_short(goal, &round));
        let cause = match manual {
            Some(_) => Cause::ByHand,
            None if limits.is_own(&disk, cached) => Cause::SizeLimit,
            None => Cause::Watermark,
        };
        self.shared.counters.collected(&round);
        self.shared.counters.freed(Cause::Unreferenced, removed);
        self.shared.counters.freed(cause, round.freed.saturating_sub(removed));
        round.state = collector.state.clone();
        Ok(round)
    }

    /// Evicts all chunks of a layer, whoever uses it. Its index stays: what is read is fetched again.
    ///
    /// # Errors
    /// The layer cannot be opened, or its maps not be written.
    pub fn evict(&self, key: &IndexKey) -> Result<Option<Evicted>, CacheError> {
        let Some(layer) = self.look_at(&key.to_string())? else { return Ok(None) };
        let ids: Vec<_> = (0..layer.index().chunk_count()).map(ChunkId).collect();
        let chunks = layer.present_chunks();
        let bytes = layer.evict(&ids)?;
        self.shared.counters.freed(Cause::ByHand, bytes);
        Ok(Some(Evicted { key: *key, bytes, chunks }))
    }

    /// The filesystem of the cache, and the bytes of disk that the cache takes.
    ///
    /// # Errors
    /// The filesystem cannot be asked.
    pub fn measure(&self) -> Result<(DiskUsage, u64), CacheError> {
        let usage = self.gauge().disk_usage().map_err(disk::at(self.cache_dir()))?;
        let cached = self.cached_bytes();
        self.gauge().measured(usage, cached);
        Ok((usage, cached))
    }

    /// How eviction stands.
    #[must_use]
    pub fn gc_state(&self) -> State {
        self.collector.lock().state.clone()
    }

    /// Evicts until `goal` is met by blocks that were counted, or nothing is left that may go.
    fn evict_groups(&self, users: &dyn LayerUsers, goal: Goal, dry_run: bool, round: &mut Round) {
        if goal.bytes <= round.freed {
            return;
        }
        let uses = users.uses();
        let names = self.names();
        let mut groups = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let Ok(Some(layer)) = self.look_at(name) else { continue };
            if !dry_run {
                round.freed += scrub(&layer);
            }
            let used = uses
                .as_ref()
                .map_or(Use::Idle, |uses| uses.get(&layer.key()).copied().unwrap_or(Use::Unreferenced));
            groups.extend(layer.groups().into_iter().map(|group| Group {
                used,
                epoch: group.epoch,
                layer: number,
                number: group.number,
                bytes: group.bytes,
            }));
        }
        order::sort(&mut groups);
        let mut left = groups.into_iter();
        while round.freed < goal.bytes {
            let taken =
                order::take(&mut left, goal.bytes - round.freed, goal.limit.saturating_sub(round.freed));
            if taken.is_empty() {
                break;
            }
            // One write of the durable map a layer.
            let mut by_layer: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
            for group in taken {
                by_layer.entry(group.layer).or_default().push(group.number);
            }
            for (layer, groups) in by_layer {
                let Some(name) = names.get(layer) else { continue };
                let Ok(Some(layer)) = self.look_at(name) else { continue };
                match evict_from(&layer, &groups, dry_run) {
                    Ok(evicted) => {
                        round.freed += evicted.bytes;
                        round.evicted.push(evicted);
                    }
                    Err(error) => tracing::warn!(layer = %layer.key(), %error, "chunks not evicted"),
                }
            }
        }
    }
}

impl Collector {
    fn enter(&mut self, state: State) {
        match (&self.state, &state) {
            (State::Idle, State::Stuck(reason)) => tracing::warn!(reason, "eviction is of no use any more"),
            (State::Stuck(_), State::Idle) => tracing::info!("the cache has room again"),
            _ => {}
        }
        self.state = state;
    }
}

/// All that may go went, and it was too little.
fn is_short(goal: Option<Goal>, round: &Round) -> bool {
    goal.is_some_and(|goal| goal.wanted > round.freed)
}

/// How things stand after a round: `disk` and `cached` are what they are once all that was freed has shown.
fn stand(limits: &Limits, disk: &DiskUsage, cached: u64, goal: Option<Goal>, round: &Round) -> State {
    if !is_short(goal, round) || limits.room(disk, cached, HIGH) > 0 {
        return State::Idle;
    }
    const MIB: u64 = 1 << 20;
    State::Stuck(format!(
        "the disk is {} % full and the cache has only {} MiB of {} MiB in use; other data fill it (cache.min_bytes, \
         {} MiB, is not evicted)",
        disk.percent(),
        cached / MIB,
        disk.capacity.saturating_sub(disk.available) / MIB,
        limits.min_bytes / MIB
    ))
}

/// Frees what no map knows of; gives the bytes.
fn scrub(layer: &Layer) -> u64 {
    let known: u64 = layer.groups().iter().map(|group| group.bytes).sum();
    if layer.stats().disk_bytes <= known + SLACK {
        return 0;
    }
    let absent: Vec<_> = (0..layer.index().chunk_count()).map(ChunkId).filter(|id| !layer.has(*id)).collect();
    layer.evict(&absent).unwrap_or_else(|error| {
        tracing::warn!(layer = %layer.key(), %error, "blocks of unknown chunks not freed");
        0
    })
}

fn evict_from(layer: &Layer, groups: &[u32], dry_run: bool) -> Result<Evicted, CacheError> {
    let ids: Vec<_> = groups.iter().flat_map(|number| layer.chunks_of_group(*number)).map(ChunkId).collect();
    let chunks = ids.iter().filter(|id| layer.has(**id)).count() as u64;
    let bytes = if dry_run {
        layer.groups().iter().filter(|group| groups.contains(&group.number)).map(|group| group.bytes).sum()
    } else {
        layer.evict(&ids)?
    };
    Ok(Evicted { key: layer.key(), bytes, chunks })
}
