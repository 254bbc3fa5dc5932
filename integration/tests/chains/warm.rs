//! What a container has used before, the kernel answers by itself.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    images::{Content, Entry},
    wait,
};

use super::ground::{Ground, base, image, lazy};

const LIMIT: Duration = Duration::from_secs(60);

/// Names, types and sizes of everything, and all bytes of a directory.
const USE: &str =
    "find / -xdev | wc -l; find / -xdev -exec stat -c %s {} + | wc -l; cat /warm/* | sha256sum; ls -lR /warm";

pub(crate) fn a_warm_container_is_quiet(ground: &mut Ground) -> Result<()> {
    let file = |number: u64| {
        Entry::file(format!("warm/{number}"), Content::Noise { seed: number, length: 50_000 + number })
    };
    let mut entries = vec![Entry::directory("warm"), Entry::symlink("warm/link", "7")];
    entries.extend((0..40).map(file));
    let pushed = ground.push("warm", &image(vec![base("warm")?, lazy(&entries)?]))?;
    ground.pull(&pushed, &[])?;
    let container = ground.run(&pushed)?;
    let first = ground.sh(&container, USE)?;
    // Nobody waits for what the kernel reads ahead.
    wait::until("all requests to be answered", LIMIT, || {
        Ok((ground.node.dir().fuse_waiting()? == 0).then_some(()))
    })?;
    let before = requests(ground)?;
    let second = ground.sh(&container, USE)?;
    ensure!(first == second, "{first}\n{second}");
    let after = requests(ground)?;
    for kind in ["lookup", "getattr", "readdir", "readdirplus", "read", "readlink", "open", "opendir"] {
        let count = |requests: &BTreeMap<String, u64>| requests.get(kind).copied().unwrap_or(0);
        ensure!(count(&after) == count(&before), "{kind}: {before:?} became {after:?}");
    }
    ground.node.remove(&container)
}

fn requests(ground: &mut Ground) -> Result<BTreeMap<String, u64>> {
    let stats = ground.node.peel()?.json("stats")?;
    serde_json::from_value(stats["fuse_requests"].clone()).context("FUSE requests by kind")
}
