//! Requests held back until a test lets them go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::log::{Match, Request};
use crate::wait;

/// Keeps matching requests waiting. Released when dropped.
#[derive(Debug)]
pub struct Hold {
    rule: Arc<Rule>,
    holds: Arc<Holds>,
}

impl Hold {
    /// How many requests wait now; clients that gave up are not counted.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.rule.waiting.load(Ordering::Relaxed)
    }

    /// Waits until at least `count` requests wait.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Result<()> {
        wait::until_true("requests to be held", limit, || self.waiting() >= count)
    }

    /// Lets them go, and all later ones through.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.rules.lock().retain(|rule| !Arc::ptr_eq(rule, &self.rule));
        self.rule.open();
    }
}

#[derive(Debug)]
struct Rule {
    matching: Match,
    gate: watch::Sender<bool>,
    waiting: AtomicUsize,
}

impl Rule {
    fn open(&self) {
        let _ = self.gate.send_replace(true);
    }
}

/// All holds of a proxy.
#[derive(Debug, Default)]
pub(super) struct Holds {
    rules: Mutex<Vec<Arc<Rule>>>,
}

impl Holds {
    pub(super) fn add(self: &Arc<Self>, matching: Match) -> Hold {
        let rule = Arc::new(Rule { matching, gate: watch::Sender::new(false), waiting: AtomicUsize::new(0) });
        self.rules.lock().push(Arc::clone(&rule));
        Hold { rule, holds: Arc::clone(self) }
    }

    pub(super) fn release_all(&self) {
        for rule in self.rules.lock().drain(..) {
            rule.open();
        }
    }

    /// Returns when no hold keeps `request` any more.
    pub(super) async fn pass(&self, request: &Request) {
        let find = || self.rules.lock().iter().find(|rule| rule.matching.holds(request)).cloned();
        while let Some(rule) = find() {
            let mut gate = rule.gate.subscribe();
            let _counted = Counted::new(&rule.waiting);
            // The sender lives in `rule`, so the only end is the opened gate.
            let _ = gate.wait_for(|open| *open).await;
        }
    }
}

/// Counts a waiting request for as long as its future lives: a client that goes away drops it.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
