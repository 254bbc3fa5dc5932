//! What can go wrong with a registry.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use parking_lot::Mutex;

use super::log::{Match, Request};

/// One way to fail.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer with this status, these headers and no body, without asking the registry.
    Status(u16, Vec<(&'static str, String)>),
    /// 200 with this body, without asking the registry: what the registry has no API for.
    Answer(String),
    /// The connection is closed with no answer.
    Disconnect,
    /// The connection is closed after this many bytes of the body.
    CutAfter(u64),
    /// Nothing more comes after this many bytes of the body, and the connection stays open.
    StallAfter(u64),
    /// The byte at this offset *of the blob* is inverted, in whatever range it is sent.
    Corrupt(u64),
    /// A range request is answered 200 with the whole blob.
    IgnoreRange,
}

impl Fault {
    /// An answer with this status and no further headers.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status(code, Vec::new())
    }
}

/// A fault in force; ends when dropped.
#[derive(Debug)]
pub struct Injected {
    rule: Arc<Rule>,
    faults: Arc<Faults>,
}

impl Injected {
    /// How many requests it hit.
    #[must_use]
    pub fn hits(&self) -> u32 {
        self.rule.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        self.faults.rules.lock().retain(|rule| !Arc::ptr_eq(rule, &self.rule));
    }
}

#[derive(Debug)]
struct Rule {
    matching: Match,
    fault: Fault,
    times: Option<u32>,
    hits: AtomicU32,
}

/// All faults of a proxy.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Mutex<Vec<Arc<Rule>>>,
}

impl Faults {
    pub(super) fn add(self: &Arc<Self>, matching: Match, fault: Fault, times: Option<u32>) -> Injected {
        let rule = Arc::new(Rule { matching, fault, times, hits: AtomicU32::new(0) });
        self.rules.lock().push(Arc::clone(&rule));
        Injected { rule, faults: Arc::clone(self) }
    }

    /// The fault for this request, counted as a hit.
    pub(super) fn take(&self, request: &Request) -> Option<Fault> {
        // Counted under the lock, so that `times` is exact under parallel requests.
        let rules = self.rules.lock();
        let spent = |rule: &Rule| rule.times.is_some_and(|times| rule.hits.load(Ordering::Relaxed) >= times);
        let rule = rules.iter().find(|rule| !spent(rule) && rule.matching.holds(request))?;
        rule.hits.fetch_add(1, Ordering::Relaxed);
        Some(rule.fault.clone())
    }
}
