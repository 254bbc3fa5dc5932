//! Images packed by umoci: its own tar writer, and a gzip writer of several goroutines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::artefact::artefact;
use super::layout::Layout;
use crate::process::run;

/// The tree of `source` in two layers that umoci made: one with everything, and above it one in which the
/// directories `removed` are gone and the files `changed` are others; whiteouts are umoci's business. Its container
/// runs `command`.
///
/// # Errors
/// When umoci is not installed or does not take the image.
pub fn umoci(source: &Layout, removed: &[&str], changed: &[&str], command: &[&str]) -> Result<Layout> {
    let digest = source.manifest_descriptor()?.digest.replacen("sha256:", "", 1);
    let version = run(Command::new("umoci").arg("--version"))?;
    let version = version.split_whitespace().last().context("a version of umoci")?;
    let name = format!("umoci-{version}-{}", &digest[..32.min(digest.len())]);
    let make = |out: &Path| {
        let work = tempfile::tempdir_in("/var/tmp")?;
        let at = |name: &str| work.path().join(name).display().to_string();
        let umoci = |arguments: &[&str]| run(Command::new("umoci").args(arguments)).map(drop);
        let image = format!("{}:it", out.display());
        let all = unpack(source, work.path())?;
        fs::remove_dir(out)?;
        umoci(&["init", "--layout", &out.display().to_string()])?;
        umoci(&["new", "--image", &image])?;
        umoci(&["unpack", "--image", &image, &at("bundle")])?;
        let root = work.path().join("bundle/rootfs");
        run(Command::new("cp").arg("-aT").arg(&all).arg(&root))?;
        umoci(&["repack", "--refresh-bundle", "--image", &image, &at("bundle")])?;
        for path in removed {
            fs::remove_dir_all(root.join(path))?;
        }
        for path in changed {
            fs::write(root.join(path), "by umoci\n")?;
        }
        umoci(&["repack", "--image", &image, &at("bundle")])?;
        let mut config = vec!["config", "--image", &image, "--clear", "config.cmd"];
        config.extend(command.iter().flat_map(|argument| ["--config.cmd", argument]));
        umoci(&config)?;
        // It leaves blobs of the steps in between.
        umoci(&["gc", "--layout", &out.display().to_string()])
    };
    artefact(&name, make).map(Layout::open)
}

/// Unpacks an image below `work`; gives its root.
///
/// # Errors
/// When umoci is not installed or does not take the image.
pub(super) fn unpack(source: &Layout, work: &Path) -> Result<PathBuf> {
    // umoci goes by tags.
    let tagged = source.derive(&work.join("source"), |_| {})?;
    tag(&tagged, "it")?;
    let image = format!("{}:it", tagged.path().display());
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(work.join("all")))?;
    Ok(work.join("all/rootfs"))
}

/// Gives the one image of a layout a tag.
fn tag(layout: &Layout, tag: &str) -> Result<()> {
    let path = layout.path().join("index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
    Ok(fs::write(&path, serde_json::to_vec(&index)?)?)
}
