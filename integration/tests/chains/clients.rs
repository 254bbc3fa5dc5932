//! Images that came another way than by a CRI pull.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Result, ensure};
use peel_integration::{
    images::{Layer, Layout},
    process::run,
};
use serde_json::Value;

use super::ground::{Ground, Pushed, base, file, image};

/// A tar of the layout that `ctr image import` takes, with the image's name in it.
fn archive(layout: &Layout, name: &str) -> Result<PathBuf> {
    let index = layout.path().join("index.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&index)?)?;
    document["manifests"][0]["annotations"]["io.containerd.image.name"] = name.into();
    fs::write(&index, serde_json::to_vec(&document)?)?;
    let archive = layout.path().with_extension("tar");
    run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(layout.path()).arg("."))?;
    Ok(archive)
}

fn import(ground: &Ground, image: &Pushed, more: &[&str]) -> Result<()> {
    let archive = archive(&image.layout, &image.reference)?.display().to_string();
    ground.node.ctr(&[&["image", "import"], more, &[&archive]].concat()).map(drop)
}

/// containerd unpacks them, eStargz or not, as onto overlayfs. (`ctr image pull` of 2.x is lazy: tests/pods.rs.)
pub(crate) fn imported_and_pulled_by_ctr(ground: &mut Ground) -> Result<()> {
    let plain = |mark: &str| -> Result<_> {
        let layers: [Layer; 2] = [base(mark)?, file("by", mark)?];
        Ok(image(layers.map(|layer| layer.annotation("peel.test/mark", mark)).into()))
    };
    let imported = ground.push("imported", &plain("imported")?)?;
    import(ground, &imported, &["--snapshotter", "peel"])?;
    ground.check(&imported, "cat /by", "imported")?;
    let pulled = ground.push("pulled", &plain("pulled")?)?;
    let pulled = ground.push_plain("pulled-plain", &pulled, &[0, 1])?;
    ground.node.ctr(&["image", "pull", "--plain-http", "--snapshotter", "peel", &pulled.reference])?;
    ground.check(&pulled, "cat /by", "pulled")?;
    let layers = ground.node.peel()?.json("layers")?;
    for layer in layers.as_array().into_iter().flatten() {
        let image = layer["image"].as_str().unwrap_or_default();
        ensure!(
            layer["ours"] == false || !(image.contains("imported") || image.contains("pulled")),
            "{layer}"
        );
    }
    Ok(())
}

/// A lazy image whose blobs are in the content store is read from there.
pub(crate) fn blobs_of_the_content_store(ground: &mut Ground) -> Result<()> {
    let stored = ground.push("stored", &image(vec![base("stored")?, file("stored", "content store")?]))?;
    import(ground, &stored, &["--no-unpack"])?;
    ground.pull(&stored, &[])?;
    ground.check(&stored, "cat /stored", "content store")?;
    for layer in [0, 1] {
        ensure!(ground.layer(&stored.layer(layer)?)?[0]["ours"] == true);
        ensure!(ground.reads("peel", &stored, layer)? == 0, "layer {layer} was read from the registry");
    }
    // Blobs that nobody pulled cannot be exported; docs/containerd.md says so.
    let lazy = ground.push("exported", &image(vec![base("exported")?]))?;
    ground.pull(&lazy, &[])?;
    let target = lazy.layout.path().with_extension("export").display().to_string();
    let export = ground.node.ctr(&["image", "export", &target, &lazy.reference]);
    ensure!(export.as_ref().is_err_and(|error| format!("{error:#}").contains("not found")), "{export:?}");
    Ok(())
}
