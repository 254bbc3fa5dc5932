//! What the service manager is told (`sd_notify(3)`). Without one, nobody is.

use sd_notify::NotifyState;

/// Tells it. That it cannot be told is no reason not to serve.
pub(super) fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, ?state, "the service manager was not told");
    }
}
