//! Single flight: a chunk that is being fetched is not fetched again.
//!
//! Who wants a chunk joins its flight, or claims it if there is none. A [`Claim`] must end every flight that it
//! owns, and does so also when the job panics or the runtime shuts down, so nobody waits for nobody.
//!
//! A chunk that has come is given to readers first (a disk that is busy writing does not keep them waiting), stored
//! second, and leaves the table last: whoever finds it neither in the table nor in the cache may claim it. Those who
//! want it stored, and not read, hear of it in the end.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;
use peel_layer::{ChunkId, VerifiedChunk, serve::ReadError};
use tokio::sync::oneshot;

use crate::schedule::Ticket;

/// How a flight ends.
pub(crate) type Outcome = Result<VerifiedChunk, ReadError>;

/// The flights of one layer.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    table: Mutex<HashMap<ChunkId, Flight>>,
}

#[derive(Debug)]
enum Flight {
    /// Being fetched; `ticket` can be made more urgent.
    Pending { readers: Waiters, keepers: Waiters, ticket: Arc<Ticket> },
    /// Here, and on its way to the cache.
    Landed { chunk: VerifiedChunk, keepers: Waiters },
}

type Waiters = Vec<oneshot::Sender<Outcome>>;

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The bytes are verified.
    Verified,
    /// The bytes are in the cache, or the cache has refused them.
    Stored,
}

/// What came of asking for some chunks.
#[derive(Debug)]
pub(crate) struct Boarding {
    /// One for every chunk asked for that is not in the cache by now.
    pub(crate) waits: Vec<(ChunkId, oneshot::Receiver<Outcome>)>,
    /// What the caller has to fetch: chunks that nobody else does.
    pub(crate) claim: Claim,
    /// Work of others that the caller waits for.
    pub(crate) others: Vec<Arc<Ticket>>,
}

/// Flights that somebody has to end.
#[derive(Debug)]
pub(crate) struct Claim {
    flights: Arc<Flights>,
    pub(crate) ids: BTreeSet<ChunkId>,
}

impl Flights {
    /// Joins or claims `wanted`, and claims those of `along` that nobody fetches; what `is_here` is left out.
    pub(crate) fn board(
        self: &Arc<Self>,
        wanted: &[ChunkId],
        until: Until,
        along: impl FnOnce(&BTreeSet<ChunkId>) -> Vec<ChunkId>,
        ticket: &Arc<Ticket>,
        is_here: impl Fn(ChunkId) -> bool,
    ) -> Boarding {
        let mut claim = Claim { flights: Arc::clone(self), ids: BTreeSet::new() };
        let (mut waits, mut others) = (Vec::new(), Vec::new());
        let mut table = self.table.lock();
        for id in wanted {
            let (sender, receiver) = oneshot::channel();
            match table.entry(*id) {
                Entry::Occupied(mut flight) => match flight.get_mut() {
                    Flight::Pending { readers, keepers, ticket } => {
                        if until == Until::Verified { readers } else { keepers }.push(sender);
                        others.push(Arc::clone(ticket));
                    }
                    Flight::Landed { chunk, .. } if until == Until::Verified => {
                        let _ = sender.send(Ok(chunk.clone()));
                    }
                    Flight::Landed { keepers, .. } => keepers.push(sender),
                },
                // Looked at under the lock: it is stored before it leaves the table.
                Entry::Vacant(_) if is_here(*id) => continue,
                Entry::Vacant(free) => {
                    let (readers, keepers) = match until {
                        Until::Verified => (vec![sender], Vec::new()),
                        Until::Stored => (Vec::new(), vec![sender]),
                    };
                    free.insert(Flight::Pending { readers, keepers, ticket: Arc::clone(ticket) });
                    claim.ids.insert(*id);
                }
            }
            waits.push((*id, receiver));
        }
        if !claim.ids.is_empty() {
            for id in along(&claim.ids) {
                if let Entry::Vacant(free) = table.entry(id)
                    && !is_here(id)
                {
                    let (readers, keepers) = (Vec::new(), Vec::new());
                    free.insert(Flight::Pending { readers, keepers, ticket: Arc::clone(ticket) });
                    claim.ids.insert(id);
                }
            }
        }
        Boarding { waits, claim, others }
    }

    fn end(&self, id: ChunkId, error: &ReadError) {
        let waiters = match self.table.lock().remove(&id) {
            Some(Flight::Pending { readers, keepers, .. }) => [readers, keepers],
            Some(Flight::Landed { keepers, .. }) => [Vec::new(), keepers],
            None => return,
        };
        tell(waiters.into_iter().flatten(), &Err(error.clone()));
    }
}

impl Claim {
    /// Gives `chunk` to readers, stores it with `store`, and ends the flight.
    pub(crate) fn land(&mut self, id: ChunkId, chunk: VerifiedChunk, store: impl FnOnce(VerifiedChunk)) {
        let readers = {
            let mut table = self.flights.table.lock();
            let (readers, keepers) = match table.remove(&id) {
                Some(Flight::Pending { readers, keepers, .. }) => (readers, keepers),
                _ => return,
            };
            table.insert(id, Flight::Landed { chunk: chunk.clone(), keepers });
            readers
        };
        tell(readers, &Ok(chunk.clone()));
        store(chunk.clone());
        let landed = self.flights.table.lock().remove(&id);
        self.ids.remove(&id);
        if let Some(Flight::Landed { keepers, .. }) = landed {
            tell(keepers, &Ok(chunk));
        }
    }

    /// Ends what is left with an error.
    pub(crate) fn fail(&mut self, error: &ReadError) {
        for id in std::mem::take(&mut self.ids) {
            self.flights.end(id, error);
        }
    }

    /// Takes over what `other`, of the same layer, has to end.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.ids.append(&mut other.ids);
    }

    /// Takes some chunks out into a claim of their own.
    pub(crate) fn split(&mut self, ids: impl IntoIterator<Item = ChunkId>) -> Self {
        let ids = ids.into_iter().filter(|id| self.ids.remove(id)).collect();
        Self { flights: Arc::clone(&self.flights), ids }
    }
}

/// Those who are gone do not mind.
fn tell(waiters: impl IntoIterator<Item = oneshot::Sender<Outcome>>, outcome: &Outcome) {
    for waiter in waiters {
        let _ = waiter.send(outcome.clone());
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.fail(&ReadError::Local("the fetch was interrupted".to_owned()));
    }
}
