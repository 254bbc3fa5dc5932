//! eStargz as users make it: `ctr-remote image convert`, in a containerd of its own.
//!
//! The converter needs the image in a content store, so a containerd without CRI runs for the seconds that it
//! takes. The result depends on the source's manifest and the options only and is kept in the cache.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::artefact::artefact;
use super::layout::Layout;
use crate::guard::TestDir;
use crate::process::{Daemon, run};
use crate::wait;

/// containerd answers within a second; a busy two-core machine may need more.
const START_LIMIT: Duration = Duration::from_secs(60);
const SOURCE: &str = "source.test/image:1";
const CONVERTED: &str = "converted.test/image:1";

/// How to convert.
#[derive(Clone, Copy, Debug)]
pub struct EStargz {
    /// Bytes per chunk; `None` is the converter's own default, 4 MiB.
    pub chunk_size: Option<u32>,
    /// gzip level 1 to 9. The converter's default of 9 takes five times as long as the 3 that the tests use.
    pub level: u8,
    /// zstd:chunked instead.
    pub zstd: bool,
}

impl Default for EStargz {
    fn default() -> Self {
        Self { chunk_size: None, level: 3, zstd: false }
    }
}

impl EStargz {
    /// Small chunks: files of some hundred kilobytes have several.
    #[must_use]
    pub fn small_chunks() -> Self {
        Self { chunk_size: Some(64 * 1024), ..Self::default() }
    }

    /// zstd:chunked, as stargz writes it.
    #[must_use]
    pub fn zstd_chunked() -> Self {
        Self { zstd: true, ..Self::default() }
    }

    /// Converts an image; the second time it is found in the cache.
    ///
    /// # Errors
    /// When containerd or the converter fail; the error holds what they printed.
    pub fn convert(self, source: &Layout) -> Result<Layout> {
        let digest = source.manifest_descriptor()?.digest.replacen("sha256:", "", 1);
        let chunk = self.chunk_size.unwrap_or(0);
        let kind = if self.zstd { "zstdchunked" } else { "estargz" };
        let name = format!("{kind}-{}-c{chunk}-l{}", &digest[..32.min(digest.len())], self.level);
        artefact(&name, |out| self.convert_into(source, out)).map(Layout::open)
    }

    fn convert_into(self, source: &Layout, out: &Path) -> Result<()> {
        let containerd = Containerd::start()?;
        containerd.import(source)?;
        let mut convert = containerd.client("ctr-remote");
        convert.args(["images", "convert", "--oci"]);
        if self.zstd {
            convert.arg("--zstdchunked");
        } else {
            convert.args(["--estargz", "--estargz-compression-level", &self.level.to_string()]);
        }
        if let Some(size) = self.chunk_size {
            convert.args(["--estargz-chunk-size", &size.to_string()]);
        }
        run(convert.args([SOURCE, CONVERTED]))?;
        containerd.export(out)
    }
}

/// A containerd that only keeps content.
struct Containerd {
    // Fields are dropped in order: the daemon ends before its folder goes.
    _daemon: Daemon,
    directory: TestDir,
}

impl Containerd {
    fn start() -> Result<Self> {
        let directory = TestDir::new()?;
        let at = |name: &str| directory.path().join(name).display().to_string();
        let config = at("config.toml");
        fs::write(
            &config,
            format!(
                "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\n  address = {:?}\n",
                at("root"),
                at("state"),
                at("sock")
            ),
        )?;
        let mut command = Command::new("containerd");
        command.args(["--config", &config]);
        let mut daemon = Daemon::spawn("containerd", command, &directory.path().join("log"))?;
        wait::until("containerd to answer", START_LIMIT, || {
            daemon.check_alive()?;
            let mut version = Command::new("ctr");
            version.args(["--address", &at("sock"), "version"]);
            Ok(run(&mut version).is_ok().then_some(()))
        })?;
        Ok(Self { _daemon: daemon, directory })
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--address").arg(self.directory.path().join("sock"));
        command
    }

    /// Loads the image under the name [`SOURCE`].
    fn import(&self, source: &Layout) -> Result<()> {
        // The import takes the name from the index, which the caller's layout need not have.
        let named = source.derive(&self.directory.path().join("layout"), |_| {})?;
        let index = named.path().join("index.json");
        let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&index)?)?;
        document["manifests"][0]["annotations"]["io.containerd.image.name"] = SOURCE.into();
        fs::write(&index, serde_json::to_vec(&document)?)?;
        let archive = self.directory.path().join("source.tar");
        run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(named.path()).arg("."))?;
        run(self.client("ctr").args(["images", "import", "--no-unpack"]).arg(&archive)).map(drop)
    }

    /// Writes the image named [`CONVERTED`] as a layout.
    fn export(&self, out: &Path) -> Result<()> {
        let archive = self.directory.path().join("converted.tar");
        run(self.client("ctr").args(["images", "export"]).arg(&archive).arg(CONVERTED))?;
        let status = Command::new("tar")
            .arg("-xf")
            .arg("-")
            .arg("-C")
            .arg(out)
            .stdin(Stdio::from(File::open(&archive)?))
            .status()
            .context("starting tar")?;
        ensure!(status.success(), "unpacking the converted image: {status}");
        Ok(())
    }
}
