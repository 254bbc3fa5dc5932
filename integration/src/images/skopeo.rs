//! zstd:chunked as containers/storage writes it (skopeo, podman, buildah), by two of its generations.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::artefact::artefact;
use super::layout::Layout;
use crate::debian::{self, Suite};
use crate::process::run;

/// A release of skopeo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skopeo {
    /// The machine's: on Debian 12 that is 1.9.3, containers/storage of 2022.
    Installed,
    /// Debian 13's, 1.18 at the time of writing: today's annotations and footer, and a tar-split frame.
    Trixie,
}

/// What Debian 13's skopeo is linked with: the machine's libc is older.
const LIBRARIES: [&str; 5] = ["libc6", "libgpgme11t64", "libassuan9", "libgpg-error0", "libsqlite3-0"];

impl Skopeo {
    /// zstd:chunked of all layers of `source`; the second time it is found in the cache.
    ///
    /// # Errors
    /// When skopeo cannot be had or fails.
    pub fn zstd_chunked(self, source: &Layout) -> Result<Layout> {
        let digest = source.manifest_descriptor()?.digest.replacen("sha256:", "", 1);
        let version = run(self.command()?.arg("--version"))?;
        let version = version.split_whitespace().last().context("a version of skopeo")?;
        let name = format!("skopeo-{version}-{}", &digest[..32.min(digest.len())]);
        let make = |out: &Path| {
            let (from, to) =
                (format!("oci:{}", source.path().display()), format!("oci:{}:it", out.display()));
            let mut copy = self.command()?;
            copy.args(["--insecure-policy", "copy", "--dest-compress-format", "zstd:chunked"]);
            run(copy.args(["--dest-compress", &from, &to])).map(drop)
        };
        artefact(&name, make).map(Layout::open)
    }

    /// Started by the loader of its own libc, so that nothing has to be installed, nor a root to be changed into.
    fn command(self) -> Result<Command> {
        if self == Self::Installed {
            return Ok(Command::new("skopeo"));
        }
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let folder = |package: &str| {
            debian::package(Suite::Trixie, package).map(|package| package.root.join("usr/lib").join(&triplet))
        };
        let folders = LIBRARIES.map(folder).into_iter().collect::<Result<Vec<_>>>()?;
        let loader = std::fs::read_dir(&folders[0])?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld-linux"))
            })
            .context("libc6 has no loader")?;
        let mut command = Command::new(loader);
        command.arg("--library-path").arg(std::env::join_paths(&folders)?);
        command.arg(debian::package(Suite::Trixie, "skopeo")?.root.join("usr/bin/skopeo"));
        Ok(command)
    }
}
