//! What is logged, and how that changes while the daemon runs.
//!
//! To stderr, which the service manager keeps. `$PEEL_LOG` says how much (`info`; `debug`; per module as
//! `peel_fetch=debug`); without it the configuration's `log` does, which a reload reads again.

use std::{env, io::IsTerminal as _, sync::OnceLock};

use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

const VARIABLE: &str = "PEEL_LOG";
/// Until the configuration is read.
const AT_FIRST: &str = "info";

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log. To be called once.
pub fn begin() {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(AT_FIRST));
    let (filter, handle) = reload::Layer::new(filter);
    // Journals keep colours as noise.
    let colours = std::io::stderr().is_terminal();
    let to_stderr = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(to_stderr).init();
    let _ = FILTER.set(handle);
}

/// Logs by `directives` from now on, unless the environment says otherwise.
///
/// # Errors
/// They cannot be understood.
pub fn set(directives: &str) -> anyhow::Result<()> {
    let filter = parse(directives)?;
    if let (Some(handle), None) = (FILTER.get(), env::var_os(VARIABLE)) {
        handle.reload(filter)?;
    }
    Ok(())
}

/// Checks directives.
///
/// # Errors
/// They cannot be understood.
pub fn parse(directives: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(directives)
        .map_err(|error| anyhow::anyhow!("log = {directives:?} cannot be understood: {error}"))
}
