//! Who may ask a source next.
//!
//! Readers first, bounded per layer only: what hangs is nearly always one registry, and its layers must not keep
//! others waiting. Prefetch and background are bounded all together, and within that per layer; background goes
//! down to one request while any reader waits.
//!
//! A permit is held for one round over the sources, not while a job sleeps between rounds. A job's lane is in its
//! [`Ticket`] and may rise while it waits, when a reader wants what was queued as prefetch.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Config, Lane};

/// Tells layers apart.
pub(crate) type LayerNumber = u64;

/// The lane of some work, which can rise.
#[derive(Debug)]
pub(crate) struct Ticket(AtomicUsize);

impl Ticket {
    pub(crate) fn new(lane: Lane) -> Arc<Self> {
        Arc::new(Self(lane.index().into()))
    }

    pub(crate) fn lane(&self) -> Lane {
        Lane::ALL.get(self.0.load(Ordering::Relaxed)).copied().unwrap_or(Lane::Background)
    }
}

/// Hands out permits.
#[derive(Debug)]
pub(crate) struct Scheduler {
    demand_per_layer: AtomicUsize,
    prefetch_total: usize,
    background_total: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    arrivals: u64,
    /// In order of arrival.
    waiting: BTreeMap<u64, Waiter>,
    running: [usize; 3],
    running_in_layer: HashMap<(LayerNumber, Lane), usize>,
}

#[derive(Debug)]
struct Waiter {
    layer: LayerNumber,
    ticket: Arc<Ticket>,
    grant: oneshot::Sender<Permit>,
}

/// The right to ask; given back by dropping it.
#[derive(Debug)]
pub(crate) struct Permit {
    scheduler: Arc<Scheduler>,
    layer: LayerNumber,
    lane: Lane,
}

impl Scheduler {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            demand_per_layer: AtomicUsize::new(config.demand_per_layer.max(1)),
            prefetch_total: config.prefetch_total.max(1),
            background_total: config.background_total.max(1),
            state: Mutex::default(),
        })
    }

    /// More may begin at once; of too many, none is ended.
    pub(crate) fn set_demand_per_layer(self: &Arc<Self>, requests: usize) {
        self.demand_per_layer.store(requests.max(1), Ordering::Relaxed);
        self.grant();
    }

    /// Waits for its turn. May be dropped while it waits.
    pub(crate) async fn permit(self: &Arc<Self>, layer: LayerNumber, ticket: &Arc<Ticket>) -> Permit {
        loop {
            let (grant, granted) = oneshot::channel();
            {
                let mut state = self.state.lock();
                state.arrivals += 1;
                let arrival = state.arrivals;
                state.waiting.insert(arrival, Waiter { layer, ticket: Arc::clone(ticket), grant });
            }
            self.grant();
            // The sender is in the table until it is used.
            if let Ok(permit) = granted.await {
                return permit;
            }
        }
    }

    /// Makes waiting work at least as urgent as `lane`.
    pub(crate) fn promote(self: &Arc<Self>, ticket: &Ticket, lane: Lane) {
        if ticket.0.fetch_min(lane.index(), Ordering::Relaxed) > lane.index() {
            self.grant();
        }
    }

    /// A reader's request is under way.
    pub(crate) fn readers_wait(&self) -> bool {
        self.state.lock().running[Lane::Demand.index()] > 0
    }

    fn grant(self: &Arc<Self>) {
        // Sent without the lock: a waiter that is gone gives its permit back at once, which takes the lock.
        for (waiter, lane) in self.admit() {
            let permit = Permit { scheduler: Arc::clone(self), layer: waiter.layer, lane };
            let _ = waiter.grant.send(permit);
        }
    }

    fn admit(&self) -> Vec<(Waiter, Lane)> {
        let mut state = self.state.lock();
        let mut admitted = Vec::new();
        for lane in Lane::ALL {
            let arrivals: Vec<u64> = state
                .waiting
                .iter()
                .filter(|(_, waiter)| waiter.ticket.lane() == lane)
                .map(|(at, _)| *at)
                .collect();
            for arrival in arrivals {
                if self.is_full(&state, lane) {
                    break;
                }
                let Some(waiter) = state.waiting.remove(&arrival) else { continue };
                let in_layer = state.running_in_layer.entry((waiter.layer, lane)).or_default();
                if *in_layer >= self.per_layer(lane) {
                    state.waiting.insert(arrival, waiter);
                    continue;
                }
                *in_layer += 1;
                state.running[lane.index()] += 1;
                admitted.push((waiter, lane));
            }
        }
        admitted
    }

    fn is_full(&self, state: &State, lane: Lane) -> bool {
        let limit = match lane {
            Lane::Demand => usize::MAX,
            Lane::Prefetch => self.prefetch_total,
            Lane::Background if state.running[Lane::Demand.index()] > 0 => 1,
            Lane::Background => self.background_total,
        };
        state.running[lane.index()] >= limit
    }

    fn per_layer(&self, lane: Lane) -> usize {
        match lane {
            Lane::Demand => self.demand_per_layer.load(Ordering::Relaxed),
            Lane::Prefetch => self.prefetch_total.div_ceil(2),
            Lane::Background => self.background_total.div_ceil(2),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.scheduler.state.lock();
            state.running[self.lane.index()] = state.running[self.lane.index()].saturating_sub(1);
            let key = (self.layer, self.lane);
            if let Some(running) = state.running_in_layer.get_mut(&key) {
                *running = running.saturating_sub(1);
                if *running == 0 {
                    state.running_in_layer.remove(&key);
                }
            }
        }
        self.scheduler.grant();
    }
}

#[cfg(test)]
mod tests;
