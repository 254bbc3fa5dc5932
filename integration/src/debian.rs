//! Programs from Debian: several versions of containerd side by side, without installing them.
//!
//! A package is fetched with the machine's own apt, from the mirror and with the keyring that the machine is set
//! up with, but with package lists of our own (the machine's are not touched), and unpacked into a cache folder:
//! `$PEEL_CACHE`, else `/var/cache/peel-tests`. The second use is only a look at a file. Test binaries run at the
//! same time, so fetching is behind a file lock.
//!
//! Bookworm's archive keyring (2023.3+deb12u2) is enough for sid: the archive signs it with older keys too.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{process::run, wait};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Lists (12 MB) and a package (33 MB) take 5 s from a near mirror; this allows for a far one.
const FETCH_LIMIT: Duration = Duration::from_secs(300);

/// A Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
    /// The rolling one.
    Sid,
}

impl Suite {
    const fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// An unpacked package.
#[derive(Debug, Clone)]
pub struct Package {
    /// The folder that stands for `/`.
    pub root: PathBuf,
    /// Debian's version, as in `1.7.24~ds1-6+deb13u1`.
    pub version: String,
}

/// Where fetched things are kept between runs.
#[must_use]
pub fn cache_dir() -> PathBuf {
    env::var_os("PEEL_CACHE").map_or_else(|| PathBuf::from("/var/cache/peel-tests"), PathBuf::from)
}

/// The package `name` of `suite`, fetched unless it is in the cache.
///
/// # Errors
/// When the mirror does not answer, does not have it, or apt cannot verify it.
pub fn package(suite: Suite, name: &str) -> Result<Package> {
    let cache = cache_dir();
    fs::create_dir_all(&cache).with_context(|| format!("creating {cache:?}"))?;
    let root = cache.join(format!("{name}-{}", suite.name()));
    let _lock = lock(&cache.join("lock"))?;
    if !root.join(VERSION_FILE).exists() {
        fetch(suite, name, &cache, &root).with_context(|| format!("fetching {name} of {}", suite.name()))?;
    }
    let version = fs::read_to_string(root.join(VERSION_FILE))?;
    Ok(Package { version: version.trim().to_owned(), root })
}

/// Written last, so that its presence means a whole package.
const VERSION_FILE: &str = "PACKAGE-VERSION";

fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("creating {path:?}"))?;
    wait::until("another test's download", FETCH_LIMIT, || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    })?;
    Ok(file)
}

fn fetch(suite: Suite, name: &str, cache: &Path, root: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(cache)?;
    let apt = Apt::new(suite, cache)?;
    let download = || run(apt.get().args(["download", name]).current_dir(work.path()));
    // The lists may be from an earlier day and name a version that the mirror no longer has.
    if download().is_err() {
        run(apt.get().arg("update"))?;
        download()?;
    }
    let deb = fs::read_dir(work.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no .deb")?;
    let unpacked = work.path().join("root");
    run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked))?;
    let version = run(Command::new("dpkg-deb").arg("-f").arg(&deb).arg("Version"))?;
    fs::write(unpacked.join(VERSION_FILE), version)?;
    fs::rename(&unpacked, root).with_context(|| format!("moving the package to {root:?}"))
}

/// apt with its own lists, cache and sources for one suite, all below the cache folder.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(suite: Suite, cache: &Path) -> Result<Self> {
        let dir = cache.join("apt").join(suite.name());
        for sub in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let path = |name: &str| dir.join(name).display().to_string();
        // An empty status file: what is installed here must not decide which version is the candidate.
        fs::write(path("status"), "")?;
        let source = format!("deb [signed-by={KEYRING}] {} {} main\n", mirror()?, suite.name());
        fs::write(path("sources.list"), source)?;
        let options = [
            format!("Dir::Etc::SourceList={}", path("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".into(),
            "Dir::Etc::Preferences=/dev/null".into(),
            "Dir::Etc::PreferencesParts=/dev/null".into(),
            format!("Dir::State::Lists={}", path("lists")),
            format!("Dir::State::Status={}", path("status")),
            format!("Dir::Cache={}", path("cache")),
            // Only package lists: no translations, no software-centre metadata.
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "APT::Sandbox::User=root".into(),
        ];
        Ok(Self { options: options.into() })
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-q");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// The mirror that this machine is set up with: apt's first source of a plain release (not `-updates`,
/// `-security` or a third party's).
///
/// # Errors
/// When apt has no such source.
pub fn mirror() -> Result<String> {
    let format = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)";
    let targets =
        run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let found = targets.lines().find_map(|line| match line.split('|').collect::<Vec<_>>()[..] {
        [_, release, "main", uri]
            if !release.contains('-') && uri.trim_end_matches('/').ends_with("/debian") =>
        {
            Some(uri.to_owned())
        }
        _ => None,
    });
    match found {
        Some(uri) => Ok(uri),
        None => bail!("apt has no source of Debian's main archive; its targets are:\n{targets}"),
    }
}
