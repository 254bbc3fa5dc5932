//! The sockets of shims: the one thing of a test that is not below its folder.
//!
//! containerd's shims listen in `/run/containerd/s`, whatever containerd's own folders are, and a shim that is killed
//! leaves its socket there. Each bundle says which is its own: in the file `address` (1.6, 1.7) or in
//! `bootstrap.json` (1.7 and later).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Where shims listen (containerd, pkg/shim `socketRoot`).
const SOCKETS: &str = "/run/containerd/s";

/// Removes the sockets that bundles below `dir` name. To be done when their shims have ended.
pub(super) fn remove_sockets(dir: &Path) -> Result<()> {
    for socket in bundles(dir).iter().flat_map(|bundle| sockets(bundle)) {
        if socket.exists() {
            fs::remove_file(&socket).with_context(|| format!("removing {socket:?}"))?;
        }
    }
    Ok(())
}

/// `<dir>/containerd/state/io.containerd.runtime.v2.task/<namespace>/<id>`; other tests' containerds keep no tasks.
fn bundles(dir: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let tasks = dir.join("containerd/state/io.containerd.runtime.v2.task");
    entries(&tasks).flat_map(|namespace| entries(&namespace).collect::<Vec<_>>()).collect()
}

fn sockets(bundle: &Path) -> Vec<PathBuf> {
    let texts = ["address", "bootstrap.json"].map(|name| fs::read_to_string(bundle.join(name)));
    texts.into_iter().flatten().filter_map(|text| socket(&text)).collect()
}

/// The path after `unix://`, up to a quote or the end.
fn socket(text: &str) -> Option<PathBuf> {
    let (_, rest) = text.split_once("unix://")?;
    let path = PathBuf::from(rest.split(|c: char| c == '"' || c.is_whitespace()).next()?);
    path.starts_with(SOCKETS).then_some(path)
}
