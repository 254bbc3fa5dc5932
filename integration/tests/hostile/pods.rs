//! A pod's annotations reach the snapshotter as labels of the sandbox's Prepare (contract §2.3, [E22]).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use peel_integration::{cri::PodSpec, unpacker::Announced};
use peel_layer::testing::{EStargzWriter, TarEntry};

use super::{defects::made, node::Victim};

/// They name a layer of an image that is in the content store, as an unpacker would.
pub(crate) fn annotations_of_pods(victim: &mut Victim) -> Result<()> {
    let layer = made(&EStargzWriter::new().entry(&TarEntry::file("by-a-pod", b"")).finish());
    let image = victim.push("by-a-pod", vec![layer])?;
    victim.node.ctr(&["content", "fetch", "--plain-http", "--metadata-only", &image.reference])?;
    let layers = Announced::image(&image.reference, &image.layout)?;
    // The base is known; the sandbox has no parent, so only a lowest layer could be passed off.
    let forged = Announced { parent: String::new(), ..layers.last().context("layers")?.clone() };
    let annotations: BTreeMap<_, _> = forged.labels();
    let before = snapshots(victim)?;
    let pod = PodSpec {
        name: "hostile".into(),
        cgroup_parent: victim.node.dir().cgroup(),
        log_directory: victim.node.dir().make("logs")?,
        annotations,
        ..PodSpec::default()
    };
    let pod = victim.node.cri().run_pod(&pod)?;
    let info = victim.node.ctr(&["snapshots", "--snapshotter", "peel", "info", &pod.id])?;
    ensure!(info.contains(&forged.chain), "the annotation did not arrive: {info}");
    ensure!(victim.layers(&forged.layer)?.iter().all(|layer| layer["ours"] == false));
    victim.node.cri().remove_pod(&pod.id)?;
    let committed = snapshots(victim)?;
    ensure!(committed == before, "{before}\nbecame\n{committed}");
    ensure!(!committed.contains(&forged.chain));
    Ok(())
}

/// containerd's list of committed snapshots.
fn snapshots(victim: &Victim) -> Result<String> {
    let list = victim.node.ctr(&["snapshots", "--snapshotter", "peel", "ls"])?;
    Ok(list.lines().filter(|line| line.contains("Committed")).collect::<Vec<_>>().join("\n"))
}
