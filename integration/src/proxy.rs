//! A reverse proxy before a registry: a slow link, a broken one, and a witness.
//!
//! ```text
//! client ──▶ accept ──▶ log ──▶ credentials ──▶ hold ──▶ fault ──▶ registry
//!    ◀─── shape (latency, then bandwidth over all connections) ◀── fault in the body ◀──┘
//! ```
//!
//! What a test says about a request it says with a [`Match`]: rules are looked at in the order in which they were
//! made. Every rule is a guard ([`Hold`], [`Injected`]) and is gone when the guard is dropped, so that a test
//! which fails in the middle leaves no client waiting.
//!
//! The link is modelled as one bucket: every connection takes its bytes from it in small slices, so parallel
//! downloads share the rate as they would share a wire. Latency is added once per request, before its first byte.

mod body;
mod fault;
mod hold;
mod log;
mod serve;
mod shape;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::{net::TcpListener, task::JoinHandle};

use self::{fault::Faults, hold::Holds, log::Log, shape::Link};
pub use self::{
    fault::{Fault, Injected},
    hold::Hold,
    log::{Match, Record, Request},
    shape::Shape,
};
use crate::runtime::{block_on, runtime};

/// A running proxy. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    accept: JoinHandle<()>,
}

/// What all connections of a proxy share.
#[derive(Debug)]
pub(crate) struct State {
    upstream: SocketAddr,
    link: Link,
    log: Log,
    holds: Arc<Holds>,
    faults: Arc<Faults>,
    credentials: parking_lot::Mutex<Option<String>>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `upstream`.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = block_on(TcpListener::bind(("127.0.0.1", 0)))?.context("binding the proxy's port")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            upstream,
            link: Link::default(),
            log: Log::default(),
            holds: Arc::default(),
            faults: Arc::default(),
            credentials: parking_lot::Mutex::default(),
        });
        let accept = runtime()?.spawn(serve::accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, accept })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the link, for requests that are being answered too.
    pub fn set_shape(&self, shape: Shape) {
        self.state.link.set(shape);
    }

    /// Holds back requests that match, before the registry sees them, until the guard is released.
    #[must_use]
    pub fn hold(&self, matching: Match) -> Hold {
        self.state.holds.add(matching)
    }

    /// Answers requests that match with `fault`, until the guard is dropped.
    #[must_use]
    pub fn inject(&self, matching: Match, fault: Fault) -> Injected {
        self.state.faults.add(matching, fault, None)
    }

    /// Like [`inject`](Self::inject) for the first `times` requests only.
    #[must_use]
    pub fn inject_times(&self, matching: Match, fault: Fault, times: u32) -> Injected {
        self.state.faults.add(matching, fault, Some(times))
    }

    /// Answers 401 with a basic challenge to everybody who does not send these.
    pub fn require_basic(&self, user: &str, password: &str) {
        *self.state.credentials.lock() = Some(serve::basic(user, password));
    }

    /// Every request since the start or since [`clear`](Self::clear), in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Record> {
        self.state.log.records()
    }

    /// The requests that match.
    #[must_use]
    pub fn requests_of(&self, matching: &Match) -> Vec<Record> {
        self.requests().into_iter().filter(|record| matching.holds(&record.request)).collect()
    }

    /// Bytes of bodies sent so far, over the requests that match.
    #[must_use]
    pub fn bytes_of(&self, matching: &Match) -> u64 {
        self.requests_of(matching).iter().map(|record| record.bytes).sum()
    }

    /// Forgets the requests seen so far.
    pub fn clear(&self) {
        self.state.log.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
        // Connections end when their clients do, or at once where a rule kept them waiting.
        self.state.holds.release_all();
    }
}
