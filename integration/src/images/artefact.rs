//! Things that take long to make, kept between runs: converted images, a Debian root.
//!
//! They live in the harness's cache folder (`$PEEL_CACHE`), outside git. A name must change when what it names
//! would: put a version or a digest in it. Makers are behind a file lock, because test binaries run at the same
//! time; what is being made has a temporary name until it is whole, so that an interrupted maker leaves nothing
//! that looks finished.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::debian::cache_dir;
use crate::wait;

/// The slowest maker is the web application's image: 2 minutes on 2 cores with a near mirror.
const MAKE_LIMIT: Duration = Duration::from_secs(1200);

/// The folder `name` of the cache, made by `make` (given an empty folder to fill) unless it is there.
///
/// # Errors
/// What `make` answers, or when the cache cannot be written.
pub fn artefact(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let images = cache_dir().join("images");
    fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    let finished = images.join(name);
    if finished.exists() {
        return Ok(finished);
    }
    let lock = File::create(images.join(format!("{name}.lock")))?;
    wait::until(name, MAKE_LIMIT, || match lock.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    })?;
    if !finished.exists() {
        tracing::info!("making {name}, which later runs find in {}", images.display());
        let work = images.join(format!("{name}.partial"));
        // Left by a maker that was interrupted; nobody else uses it, the lock is ours.
        if work.exists() {
            fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
        }
        fs::create_dir(&work)?;
        make(&work).with_context(|| format!("cannot make {name}"))?;
        fs::rename(&work, &finished)?;
    }
    Ok(finished)
}
