//! Pulls that failed in the gate for a reason that containerd may not share.
//!
//! The kubelet tries again, and that retry is an ordinary pull, if it finds its way to Prepare: as long as
//! containerd's metadata still has the failed snapshots, it only calls Stat, which then answers with the
//! remembered error until containerd's GC has collected them (design.md, "The manifest is already here").

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use peel_layer::ManifestDigest;
use tokio::time::Instant;

use super::error::GateError;

/// Most failures that are remembered; beyond it the oldest goes. A node has far fewer images.
const CAPACITY: usize = 1024;

/// See the module's header.
#[derive(Debug)]
pub struct Failures {
    ttl: Mutex<Duration>,
    by_manifest: Mutex<HashMap<ManifestDigest, (GateError, Instant)>>,
}

impl Failures {
    /// Remembers for `ttl`; zero remembers nothing (`fallback = "never"`).
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl: Mutex::new(ttl), by_manifest: Mutex::default() }
    }

    /// From now on `ttl` holds, also for what was noted before.
    pub fn set_ttl(&self, ttl: Duration) {
        *self.ttl.lock() = ttl;
    }

    /// Notes a failure, if it is of the kind that an ordinary pull may cure.
    pub fn note(&self, manifest: ManifestDigest, error: &GateError) {
        if self.ttl.lock().is_zero() || !error.cause().containerd_may_not_share() {
            return;
        }
        let mut failures = self.by_manifest.lock();
        if failures.len() >= CAPACITY
            && let Some(oldest) =
                failures.iter().min_by_key(|(_, (_, at))| *at).map(|(manifest, _)| *manifest)
        {
            failures.remove(&oldest);
        }
        failures.insert(manifest, (error.clone(), Instant::now()));
    }

    /// The failure of `manifest`, if it is recent.
    #[must_use]
    pub fn recent(&self, manifest: &ManifestDigest) -> Option<GateError> {
        let mut failures = self.by_manifest.lock();
        let (error, at) = failures.get(manifest)?;
        if at.elapsed() < *self.ttl.lock() {
            return Some(error.clone());
        }
        failures.remove(manifest);
        None
    }

    /// An ordinary pull of `manifest` is going on: the decision must not change under it, so the time starts anew.
    pub fn touch(&self, manifest: &ManifestDigest) {
        if let Some((_, at)) = self.by_manifest.lock().get_mut(manifest) {
            *at = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::error::Cause, *};

    fn error(cause: Cause) -> GateError {
        GateError::new(cause, "r.example/app:1", "sha256:aa", "no")
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_containerd_may_not_share_and_only_for_a_while() {
        let failures = Failures::new(Duration::from_secs(600));
        let (a, b) = (ManifestDigest::of(b"a"), ManifestDigest::of(b"b"));
        failures.note(a, &error(Cause::Unauthenticated));
        failures.note(b, &error(Cause::Unavailable));
        assert!(failures.recent(&a).is_some() && failures.recent(&b).is_none());
        tokio::time::advance(Duration::from_secs(599)).await;
        failures.touch(&a);
        tokio::time::advance(Duration::from_secs(599)).await;
        assert!(failures.recent(&a).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(failures.recent(&a).is_none());
    }

    #[tokio::test]
    async fn never_means_never_and_memory_is_bounded() {
        let never = Failures::new(Duration::ZERO);
        never.note(ManifestDigest::of(b"a"), &error(Cause::Forbidden));
        assert!(never.recent(&ManifestDigest::of(b"a")).is_none());
        never.set_ttl(Duration::from_secs(600));
        never.note(ManifestDigest::of(b"a"), &error(Cause::Forbidden));
        assert!(never.recent(&ManifestDigest::of(b"a")).is_some());
        never.set_ttl(Duration::ZERO);
        assert!(never.recent(&ManifestDigest::of(b"a")).is_none());
        let failures = Failures::new(Duration::from_secs(600));
        for number in 0..CAPACITY + 10 {
            failures.note(ManifestDigest::of(&number.to_le_bytes()), &error(Cause::Tls));
        }
        assert_eq!(failures.by_manifest.lock().len(), CAPACITY);
    }
}
