//! Namespaces of containerd share what they may share, and nothing else.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    cri::code,
    unpacker::{Announced, Unpacker},
};
use tonic::Code;

use super::ground::{Ground, base, file, image, lower_of, lowerdirs};

/// An unpacker in a namespace, with a lease of its own.
fn unpacker(ground: &mut Ground, namespace: &str) -> Result<Unpacker> {
    let lease = ground.node.ctr_in(namespace, &["leases", "create"])?;
    Unpacker::new(&ground.node.containerd().socket(), namespace, lease.trim())
}

/// The unpacker's way through an image: every layer is there already.
fn adopt(unpacker: &Unpacker, layers: &[Announced]) -> Result<()> {
    for layer in layers {
        let answer = unpacker.announce(layer);
        let exists = answer.as_ref().is_err_and(|error| code(error) == Some(Code::AlreadyExists));
        ensure!(exists, "{layer:?}: {answer:?}");
        unpacker.stat(&layer.chain)?;
    }
    Ok(())
}

/// The lower directories of a new container upon `chain`.
fn container(unpacker: &Unpacker, key: &str, chain: &str) -> Result<Vec<std::path::PathBuf>> {
    unpacker.prepare(key, chain, BTreeMap::new())?;
    lower_of(unpacker.mounts(key)?.iter().map(String::as_str))
}

pub(crate) fn one_image_in_two_namespaces(ground: &mut Ground) -> Result<()> {
    let pushed = ground.push("namespaces", &image(vec![base("namespaces")?, file("shared", "by both")?]))?;
    ground.pull(&pushed, &[])?;
    let first = ground.run(&pushed)?;
    ensure!(ground.sh(&first, "cat /shared")? == "by both");
    let layers = Announced::image(&pushed.reference, &pushed.layout)?;
    let top = &layers.last().context("layers")?.chain;
    let other = unpacker(ground, "other")?;
    ground.node.proxy().clear();
    adopt(&other, &layers)?;
    let lower = container(&other, "container", top)?;
    ensure!(lower == lowerdirs(&first)?, "{lower:?}");
    // Gone from one namespace, it stays in the other.
    ground.node.remove(&first)?;
    ground.node.cri().remove_image(&pushed.reference)?;
    ensure!(fs::read(lower[0].join("shared"))? == b"by both");
    ensure!(ground.layer(&pushed.layer(0)?)?.len() == 1);
    ensure!(ground.reads("peel", &pushed, 0)? == 0, "nothing was read again");
    // Back in the first, it is the same.
    ground.pull(&pushed, &[])?;
    ground.check(&pushed, "cat /shared", "by both")
}

/// An image that claims another image's diff ids, pulled first, in a namespace of its own: the other one's layers
/// are not replaced by it (contract [E11b]). In one namespace nobody asks Peel again; docs/trust.md.
pub(crate) fn another_blob_under_a_known_chain(ground: &mut Ground) -> Result<()> {
    let honest = image(vec![base("claimed")?, file("claimed", "honest")?]);
    let honest = ground.push("claimed-honest", &honest)?;
    let forged = ground.push("claimed-other", &image(vec![base("claimed")?, file("claimed", "forged")?]))?;
    let directory = ground.node.images().path().join("claimed-forged");
    let layout = forged.layout.derive(&directory, |_| {})?;
    let mut manifest = layout.manifest()?;
    manifest.config = honest.layout.manifest()?.config;
    fs::copy(honest.layout.blob_path(&manifest.config.digest), layout.blob_path(&manifest.config.digest))?;
    layout.set_manifest(&manifest)?;
    ground.node.images().push(&layout, "claimed-forged:it")?;
    let reference = ground.node.image("claimed-forged:it");
    // What its pull leaves in the content store is all that the decision needs.
    let evil = unpacker(ground, "evil")?;
    ground.node.ctr_in("evil", &["content", "fetch", "--plain-http", "--metadata-only", &reference])?;
    let layers = Announced::image(&reference, &layout)?;
    adopt(&evil, &layers)?;
    let lower = container(&evil, "container", &layers[1].chain)?;
    ensure!(fs::read(lower[0].join("claimed"))? == b"forged");

    ground.pull(&honest, &[1])?;
    ground.check(&honest, "cat /claimed", "honest")?;
    // Each namespace has its own.
    ensure!(ground.layer(&forged.layer(1)?)?[0]["ours"] == true);
    ensure!(fs::read(lower[0].join("claimed"))? == b"forged");
    Ok(())
}
