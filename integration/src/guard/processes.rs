//! Ends what a test started: shims and daemons by the test's folder in their arguments, containers by cgroup.
//!
//! Only programs that the harness starts are looked at: somebody who reads a test's log is left alone.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::Result;
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::cgroups;
use crate::wait;

/// How the names of the programs begin that the harness starts, or that those start.
const PROGRAMS: [&str; 5] = ["containerd", "docker-registry", "peel", "runc", "systemd-nspawn"];

/// A killed process is gone in milliseconds, unless a FUSE request holds it; those end when the connection does.
const LIMIT: Duration = Duration::from_secs(10);

/// SIGKILL for every process in `cgroup` and every one with an argument below `dir`.
pub(super) fn end_all_of(dir: &Path, cgroup: &str) -> Result<()> {
    let mut left = BTreeSet::new();
    // More than one round: a shim that ends may have just started something.
    let gone = wait::until_true("the test's processes to end", LIMIT, || {
        left = cgroups::processes(cgroup);
        left.extend(with_argument_below(dir));
        for pid in left.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        left.is_empty()
    });
    gone.map_err(|error| error.context(format!("still there: {left:?}")))
}

fn with_argument_below(dir: &Path) -> BTreeSet<i32> {
    let own = getpid().as_raw_nonzero().get();
    let wanted = format!("{}/", dir.display());
    let named = |pid: i32| {
        // A zombie has no arguments: it is its parent's business.
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0);
        let program = arguments.clone().next().and_then(|path| path.rsplit(|byte| *byte == b'/').next());
        program.is_some_and(|name| PROGRAMS.iter().any(|program| name.starts_with(program.as_bytes())))
            && arguments.any(|argument| argument.windows(wanted.len()).any(|part| part == wanted.as_bytes()))
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own && named(*pid))
        .collect()
}
