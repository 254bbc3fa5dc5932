//! Layers that are refused in the gate.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use peel_integration::wait;

use super::{
    defects::{CONTENT, DAMAGED, DEFECTS, Defect, GARBAGE, above},
    node::{Pushed, Victim},
};

/// containerd collects the failed snapshots within seconds; until then the retry gets the same answer.
const RETRY_LIMIT: Duration = Duration::from_secs(90);

/// An index that is wrong costs the layer its laziness, and nothing else: the layer itself is honest, and streamed.
pub(crate) fn layers_whose_index_is_refused(victim: &mut Victim) -> Result<()> {
    for defect in &DEFECTS {
        streamed(victim, defect).with_context(|| format!("defect: {}", defect.name))?;
        victim.is_well().with_context(|| format!("defect: {}", defect.name))?;
    }
    Ok(())
}

fn streamed(victim: &mut Victim, defect: &Defect) -> Result<()> {
    let image = victim.push(defect.name, vec![(defect.layer)(), above()])?;
    victim.node.cri().pull(&image.reference)?;
    let layers = victim.layers(&image.layer(1)?)?;
    ensure!(layers.len() == 1 && layers[0]["ours"] == true && layers[0]["format"] == "gzip", "{layers:?}");
    let reason = layers[0]["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains(defect.says), "{reason}");
    let printed = victim.run(&image, "cat /f")?;
    ensure!(printed == CONTENT, "{printed}");
    Ok(())
}

/// First all of them, then all retries: containerd's garbage collection is waited for once.
pub(crate) fn layers_that_are_refused(victim: &mut Victim) -> Result<()> {
    let mut images = Vec::new();
    for defect in &DAMAGED {
        let image = refused(victim, defect).with_context(|| format!("defect: {}", defect.name))?;
        victim.is_well().with_context(|| format!("defect: {}", defect.name))?;
        images.push(image);
    }
    for (defect, image) in DAMAGED.iter().zip(&images) {
        retried(victim, image).with_context(|| format!("retry of defect: {}", defect.name))?;
    }
    Ok(())
}

fn refused(victim: &mut Victim, defect: &Defect) -> Result<Pushed> {
    let image = victim.push(defect.name, vec![(defect.layer)(), above()])?;
    let error = match victim.node.cri().pull(&image.reference) {
        Ok(_) => bail!("it was pulled"),
        Err(error) => format!("{error:#}"),
    };
    let remedy = "build and push the image again";
    for part in [&image.reference, &image.layer(1)?, defect.says, remedy] {
        ensure!(error.contains(part), "{part:?} is not in: {error}");
    }
    Ok(image)
}

/// The retry is containerd's, which refuses the layer in its own words. With `unpigz` it takes one with garbage behind
/// its end.
fn retried(victim: &mut Victim, image: &Pushed) -> Result<()> {
    let digest = image.layer(1)?;
    wait::until("containerd's GC", RETRY_LIMIT, || Ok(victim.layers(&digest)?.is_empty().then_some(())))?;
    match victim.node.cri().pull(&image.reference) {
        Ok(_) => ensure!(image.reference.contains(GARBAGE), "containerd took it"),
        Err(error) => {
            ensure!(!image.reference.contains(GARBAGE), "with unpigz it would take it: {error:#}");
            ensure!(!format!("{error:#}").contains("peel:"), "{error:#}");
        }
    }
    Ok(())
}

/// Of all that, nothing is left but the honest image's one layer; not even the index of the honest layers that
/// stood above refused ones and so never got a snapshot.
pub(crate) fn nothing_stays_of_refused_layers(victim: &mut Victim) -> Result<()> {
    for image in victim.node.cri().images()? {
        if !image.repo_tags.iter().any(|tag| tag.contains("sandbox") || tag.contains("honest:")) {
            victim.node.cri().remove_image(&image.id)?;
        }
    }
    let root = victim.node.peel()?.root();
    // Half-streamed layers are in a folder of their own.
    let names = |folder: &str| -> Result<Vec<_>> {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten();
        let names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
        Ok(names.into_iter().filter(|name| name != "stream").collect())
    };
    let mut left = Vec::new();
    let gone = wait::until("the files of layers to go", RETRY_LIMIT, || {
        left = ["index", "cache", "cache/stream"].map(names).into_iter().collect::<Result<Vec<_>>>()?;
        Ok(left.iter().map(Vec::len).eq([1, 1, 0]).then_some(()))
    });
    gone.with_context(|| format!("in index, cache and cache/stream: {left:?}"))
}
