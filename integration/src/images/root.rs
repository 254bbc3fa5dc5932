//! A root filesystem that grows layer by layer: overlay mounts, debootstrap, apt in a chroot, pip from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debian::mirror;
use crate::guard::TestDir;
use crate::process::run;

/// Debian's release that the image is made of; its Python is 3.11.
const SUITE: &str = "bookworm";
const PYTHON_VERSION: &str = "3.11";
const PACKAGES_PATH: &str = "usr/local/lib/python3.11/dist-packages";

/// What package managers leave behind and a Dockerfile would remove.
const LEFTOVERS: [&str; 5] =
    ["var/lib/apt/lists", "var/cache/apt", "var/log", "var/cache/debconf", "etc/resolv.conf"];

/// A stack of finished layers. Dropping it unmounts and deletes everything.
pub(super) struct BuildRoot {
    directory: TestDir,
    /// Upper directories, the lowest first.
    layers: Vec<PathBuf>,
}

impl BuildRoot {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { directory: TestDir::new()?, layers: Vec::new() })
    }

    /// Runs `fill` on the merged root and gives the directory that holds what it changed.
    pub(super) fn layer(&mut self, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let make = |name: &str| self.directory.make(&format!("{name}-{}", self.layers.len()));
        let (upper, work) = (make("upper")?, make("work")?);
        if self.layers.is_empty() {
            fill(&upper)?;
            clean(&upper)?;
        } else {
            let merged = make("merged")?;
            let lower =
                self.layers.iter().rev().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
            // redirect_dir off: an image format has no word for a renamed directory.
            let options = format!(
                "lowerdir={lower},upperdir={},workdir={},redirect_dir=off,metacopy=off",
                upper.display(),
                work.display()
            );
            run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged))?;
            let filled = fill(&merged).and_then(|()| clean(&merged));
            run(Command::new("umount").arg(&merged))?;
            filled?;
        }
        self.layers.push(upper.clone());
        Ok(upper)
    }

    /// The smallest Debian that has apt.
    pub(super) fn debootstrap(root: &Path) -> Result<()> {
        run(Command::new("debootstrap").args(["--variant=minbase", SUITE]).arg(root).arg(mirror()?)).map(drop)
    }
}

/// Installs Debian packages into `root`.
pub(super) fn apt_install(root: &Path, packages: &[&str]) -> Result<()> {
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).context("cannot copy the resolver's file")?;
    run(in_root(root, "apt-get").args(["-q", "update"]))?;
    run(in_root(root, "apt-get").args(["-qy", "install", "--no-install-recommends"]).args(packages)).map(drop)
}

/// Installs Python packages into `root` with this machine's pip, which knows its index and certificates, and
/// compiles them with the root's Python, as pip in a Dockerfile would.
pub(super) fn pip_install(root: &Path, packages: &[&str]) -> Result<()> {
    let target = root.join(PACKAGES_PATH);
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "-q",
        "--no-compile",
        "--only-binary=:all:",
        "--root-user-action=ignore",
    ]);
    pip.args(["--python-version", PYTHON_VERSION, "--implementation", "cp", "--target"]).arg(&target);
    run(pip.args(packages))?;
    let compiled = format!("/{PACKAGES_PATH}");
    // Some packages carry sources that are not meant to compile; pip ignores those too.
    if let Err(error) = run(in_root(root, "python3").args(["-m", "compileall", "-q", &compiled])) {
        tracing::debug!("not everything compiled: {error:#}");
    }
    Ok(())
}

fn in_root(root: &Path, program: &str) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).arg(program).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn clean(root: &Path) -> Result<()> {
    for leftover in LEFTOVERS {
        let path = root.join(leftover);
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                let entry = entry?.path();
                let removed =
                    if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
                removed.with_context(|| format!("cannot remove {}", entry.display()))?;
            }
        } else if path.exists() {
            fs::write(&path, "").with_context(|| format!("cannot empty {}", path.display()))?;
        }
    }
    Ok(())
}
