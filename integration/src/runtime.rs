//! One asynchronous runtime behind a blocking face.
//!
//! Tests and the demo are sequences of steps and are easiest to read as plain blocking code; a guard's `Drop`
//! cannot be asynchronous at all. So the harness's API blocks, and what is asynchronous inside (the proxy, gRPC)
//! runs here. The runtime is never dropped: it outlives every test thread.

use std::{future::Future, sync::OnceLock};

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, started at the first call.
///
/// # Errors
/// When the threads cannot be started.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let started = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("harness")
        .enable_all()
        .build()
        .context("starting the harness's runtime")?;
    Ok(RUNTIME.get_or_init(|| started))
}

/// Runs `future` to its end. Not to be called from asynchronous code.
///
/// # Errors
/// When the runtime cannot be started.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output> {
    Ok(runtime()?.block_on(future))
}
