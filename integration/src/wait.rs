//! Waiting with a bound: every wait of the harness ends, and says what it waited for.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at again: short next to what is waited for (daemons that start: 50 ms and
/// more), long enough to cost nothing on two cores.
const POLL: Duration = Duration::from_millis(10);

/// Asks `probe` until it has an answer, `limit` at most.
///
/// # Errors
/// The probe's own error at once; after `limit` an error that names `what` was waited for.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if started.elapsed() >= limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        thread::sleep(POLL);
    }
}

/// Like [`until`] for a condition that is only true or false.
///
/// # Errors
/// After `limit`.
pub fn until_true(what: &str, limit: Duration, mut probe: impl FnMut() -> bool) -> Result<()> {
    until(what, limit, || Ok(probe().then_some(())))
}
