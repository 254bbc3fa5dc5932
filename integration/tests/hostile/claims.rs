//! What images and clients claim, and what is believed.

use std::fs;

use anyhow::{Result, ensure};
use peel_integration::{cri::code, images::Layer, unpacker::Announced};
use peel_layer::testing::{EStargzWriter, TarEntry};
use tonic::Code;

use super::{
    defects::{TOC_DIGEST, made},
    node::Victim,
};

const FORGED: &str = "sha256:abababababababababababababababababababababababababababababababab";

fn file(content: &str) -> Layer {
    made(&EStargzWriter::new().entry(&TarEntry::file("f", content.as_bytes())).finish())
}

/// Annotations of a layer come along as labels of its Prepare.
pub(crate) fn annotations_of_layers(victim: &mut Victim) -> Result<()> {
    let mut layer = file("annotated")
        .annotation("containerd.io/snapshot.ref", FORGED)
        .annotation("containerd.io/snapshot/cri.image-ref", "evil.example/image:1")
        .annotation("containerd.io/snapshot/uidmapping", "0:1000:1")
        .annotation("containerd.io/snapshot/gidmapping", "0:1000:1");
    for name in ["cri.manifest-digest", "cri.layer-digest", "cri.image-layers", "diff-id", "parent-chain-id"]
    {
        layer = layer.annotation(&format!("containerd.io/snapshot/{name}"), FORGED);
    }
    let image = victim.push("annotated", vec![layer])?;
    victim.node.cri().pull(&image.reference)?;
    let layers = victim.layers(&image.layer(1)?)?;
    ensure!(layers.len() == 1 && layers[0]["ours"] == true, "{layers:?}");
    ensure!(layers[0]["image"] == image.reference.as_str(), "{layers:?}");
    ensure!(victim.run(&image, "cat /f; stat -c ' %u' /f")? == "annotated 0");
    ensure!(victim.layers(FORGED)?.is_empty());
    // A digest that is none leads to no TOC: the layer is streamed.
    let image = victim.push("no-digest", vec![file("no digest").annotation(TOC_DIGEST, "sha256:../../x")])?;
    victim.node.cri().pull(&image.reference)?;
    let layers = victim.layers(&image.layer(1)?)?;
    ensure!(layers[0]["format"] == "gzip", "{layers:?}");
    ensure!(layers[0]["reason"].as_str().is_some_and(|reason| reason.contains(TOC_DIGEST)), "{layers:?}");
    ensure!(victim.run(&image, "cat /f")? == "no digest");
    Ok(())
}

/// A client of containerd that says what does not follow from manifest and config is refused; one that is no
/// unpacker gets an ordinary snapshot, whatever its labels say.
pub(crate) fn labels_of_no_unpacker(victim: &mut Victim) -> Result<()> {
    let image = victim.push("labels", vec![file("labels")])?;
    victim.node.ctr_in("evil", &["content", "fetch", "--plain-http", "--metadata-only", &image.reference])?;
    let layers = Announced::image(&image.reference, &image.layout)?;
    let unpacker = victim.unpacker("evil")?;
    let refuse = |layer: &Announced, says: &str| {
        let answer = unpacker.announce(layer);
        let refused = answer.as_ref().is_err_and(|error| {
            let text = format!("{error:#}");
            code(error) == Some(Code::FailedPrecondition)
                && text.contains(says)
                && text.contains(&layer.chain)
        });
        ensure!(refused, "{layer:?}: {answer:?}");
        Ok(())
    };
    refuse(&Announced { chain: FORGED.into(), ..layers[0].clone() }, "does not follow")?;
    let lowest = Announced { parent: String::new(), ..layers[1].clone() };
    refuse(&Announced { layer: layers[0].layer.clone(), ..lowest.clone() }, "does not follow")?;
    refuse(&lowest, "the parent of chain")?;
    unpacker.prepare("no-unpacker", "", layers[0].labels())?;
    unpacker.announce(&Announced { manifest: FORGED.into(), ..layers[0].clone() })?;
    let list = victim.node.ctr_in("evil", &["snapshots", "--snapshotter", "peel", "ls"])?;
    ensure!(!list.contains("Committed"), "{list}");
    Ok(())
}

/// In one namespace containerd does not ask for a chain that it has: who claims it gets the layers that are there.
pub(crate) fn diff_ids_of_another_image(victim: &mut Victim) -> Result<()> {
    let honest = victim.push("claimed", vec![file("claimed")])?;
    victim.node.cri().pull(&honest.reference)?;
    let claimer = victim.push("claimer-blobs", vec![file("claimer")])?;
    let layout = claimer.layout.derive(&victim.node.images().path().join("claimer"), |_| {})?;
    let mut manifest = layout.manifest()?;
    manifest.config = honest.layout.manifest()?.config;
    let config = &manifest.config.digest;
    fs::copy(honest.layout.blob_path(config), layout.blob_path(config))?;
    layout.set_manifest(&manifest)?;
    let claimer = victim.push_layout("claimer", layout)?;
    victim.node.cri().pull(&claimer.reference)?;
    ensure!(victim.run(&claimer, "cat /f")? == "claimed");
    ensure!(victim.run(&honest, "cat /f")? == "claimed");
    Ok(())
}
