//! The workloads themselves. Each runs in a process of its own, so that no descriptor, mapping or directory that it
//! leaves open is in the way of the next, and so that one which hangs can be ended.

mod random;
mod tree;

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{image, workload::Workload};
use crate::process::run;

/// Bytes per call of a sequential reader: what `cp` and `cat` use.
const READ: usize = 128 << 10;

/// What `python_start` imports: most of what a small service needs of the standard library.
const IMPORTS: &str = "import json, asyncio, http.client";

/// What a workload did. The numbers besides the cost are compared between filesystems: equal work is a condition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// In the workload's unit.
    pub cost: f64,
    /// Files, directory entries or reads.
    pub items: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Does `workload` in the tree at `root`.
///
/// # Errors
/// What the filesystem answers; or when the image is not the benchmark's.
pub fn perform(workload: Workload, root: &Path) -> Result<Done> {
    match workload {
        Workload::Walk => tree::walk(root),
        Workload::Open10k => tree::open_small(root),
        Workload::Readall => tree::read_all(root),
        Workload::Rand4k1 => random::reads(root, 4 << 10, 8_000, 1),
        Workload::Rand4k4 => random::reads(root, 4 << 10, 8_000, 4),
        Workload::Rand128k1 => random::reads(root, 128 << 10, 1_500, 1),
        Workload::Rand128k4 => random::reads(root, 128 << 10, 1_500, 4),
        Workload::Seq512m => sequential(root),
        Workload::PythonStart => python(root),
    }
}

fn sequential(root: &Path) -> Result<Done> {
    let path = root.join(image::DIRECTORY).join(image::BIG);
    let mut buffer = vec![0; READ];
    let begin = Instant::now();
    let bytes = tree::read_file(&path, &mut buffer)?;
    let cost = begin.elapsed().as_secs_f64();
    anyhow::ensure!(bytes == image::BIG_LENGTH, "{} has {bytes} bytes", path.display());
    Ok(Done { cost, items: 1, bytes })
}

fn python(root: &Path) -> Result<Done> {
    let mut command = Command::new("chroot");
    command.arg(root).args(["/usr/bin/python3", "-c", IMPORTS]);
    // Nothing may depend on this machine's environment, and nothing may be written into the container.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("PYTHONDONTWRITEBYTECODE", "1");
    let begin = Instant::now();
    run(&mut command).context("starting Python")?;
    Ok(Done { cost: begin.elapsed().as_secs_f64(), items: 1, bytes: 0 })
}
