//! `systemctl reload`, SIGHUP: the configuration is read again.
//!
//! What holds for the next request or pull changes at once; what was decided at start (which front, which
//! connections) needs a restart, which containers do not notice either. A file with a mistake changes nothing.

use std::path::PathBuf;

use sd_notify::NotifyState;
use tokio::signal::unix::Signal;

use super::{manager, registry};
use crate::{
    config::{Config, Live},
    layers::LazyLayers,
    logging,
};

/// Reads the configuration again whenever `asked` is. Never comes back.
pub(super) async fn follow(mut asked: Signal, file: Option<PathBuf>, config: Live, layers: LazyLayers) {
    while asked.recv().await.is_some() {
        let now = NotifyState::monotonic_usec_now();
        manager::tell(&[NotifyState::Reloading]);
        if let Ok(now) = now {
            manager::tell(&[now]);
        }
        let (file, config, layers) = (file.clone(), config.clone(), layers.clone());
        // Certificates and files are read.
        let reloaded = tokio::task::spawn_blocking(move || reload(file, &config, &layers)).await;
        let status = match reloaded {
            Ok(Ok(waiting)) if waiting.is_empty() => {
                tracing::info!("configuration was read again");
                "serving".to_owned()
            }
            Ok(Ok(waiting)) => {
                let keys = waiting.join(", ");
                tracing::warn!(keys, "configuration was read again; these changed and need a restart");
                format!("serving; changed and not in force before a restart: {keys}")
            }
            Ok(Err(error)) => {
                tracing::error!("the configuration is refused, and stays as it was: {error:#}");
                "serving; the changed configuration was refused, see the log".to_owned()
            }
            Err(error) => {
                tracing::error!(%error, "reading the configuration failed, and it stays as it was");
                "serving".to_owned()
            }
        };
        manager::tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }
}

fn reload(file: Option<PathBuf>, config: &Live, layers: &LazyLayers) -> anyhow::Result<Vec<&'static str>> {
    let new = Config::load(file.as_deref())?;
    let old = config.now();
    let asked_otherwise = new.registry != old.registry || new.fetch != old.fetch;
    let registry = asked_otherwise.then(|| registry(&new)).transpose()?;
    logging::set(&new.log)?;
    let waiting = config.replace(new);
    let now = config.now();
    layers.served().set_limits(now.cache.limits());
    layers.served().set_patience(now.fetch.fetcher(now.registry.retry_after_max));
    if let Some(registry) = registry {
        layers.served().set_registry(registry);
    }
    layers.reconfigure();
    Ok(waiting)
}
