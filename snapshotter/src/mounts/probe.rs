//! What this kernel can do with a tree image and a data file under FUSE, found out by doing it.
//!
//! A tiny image with one file of two blocks is mounted over a data file that has only one and a quarter. The first
//! block must read back; the second must be an I/O error. A kernel that fills it with zeros would show wrong bytes
//! whenever a read is cut short, so it is not used this way, whatever its version says.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use peel_erofs::{Metadata, NodeKind, Tree, write_image};
use peel_fusefs::short;

use super::{Backing, erofs};

/// Everything here is local and tiny; a kernel that needs longer is stuck.
const LIMIT: Duration = Duration::from_secs(10);

/// Name of the file in the image.
const FILE: &str = "file";
const BLOCK: usize = 4096;

/// Why a backing cannot be used. The text is for `peel check` and the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The kernel does not mount it so.
    #[error("{0}")]
    Refused(String),
    /// Short reads are filled with zeros, or nothing reads back at all.
    #[error("{0}")]
    Unsafe(String),
    /// The probe itself failed.
    #[error("the probe failed: {0}")]
    Probe(String),
}

/// Tries `backing` below `root`, on the filesystem that the layers will be on. Leaves nothing behind.
///
/// # Errors
/// [`Unusable`].
pub fn probe(root: &Path, backing: Backing) -> Result<(), Unusable> {
    let failed = |error: io::Error| Unusable::Probe(error.to_string());
    let directory = tempfile::Builder::new().prefix("probe-").tempdir_in(root).map_err(failed)?;
    let (tree, fuse, layer) =
        (directory.path().join("tree"), directory.path().join("fuse"), directory.path().join("layer"));
    fs::write(&tree, image()?).map_err(failed)?;
    fs::create_dir(&fuse).map_err(failed)?;
    let device = peel_fusefs::mount(&fuse).map_err(|error| Unusable::Probe(format!("FUSE: {error}")))?;
    let _fuse = Mounted { path: fuse.clone(), hung: true };
    // In a thread of its own: what hangs in the kernel must not hang the daemon.
    let (sender, outcome) = mpsc::channel();
    let worker = std::thread::Builder::new().name("probe-reader".to_owned()).spawn(move || {
        let tried = short::serve(device)
            .map_err(|error| Unusable::Probe(format!("FUSE: {error}")))
            .and_then(|()| try_out(backing, &tree, &fuse.join(short::NAME), &layer));
        // Nobody waits any more: the probe gave up.
        let _ = sender.send(tried);
    });
    worker.map_err(failed)?;
    outcome
        .recv_timeout(LIMIT)
        .unwrap_or_else(|_| Err(Unusable::Probe(format!("no answer within {} s", LIMIT.as_secs()))))
}

fn image() -> Result<Vec<u8>, Unusable> {
    let mut tree = Tree::new(Metadata { permissions: 0o700, ..Metadata::default() });
    let file = NodeKind::File { size: short::CLAIMED, start_block: 0 };
    let mut image = Vec::new();
    tree.insert(tree.root(), FILE.as_bytes(), file, Metadata::default())
        .map_err(|error| Unusable::Probe(error.to_string()))?;
    write_image(&tree, short::CLAIMED / BLOCK as u64, &mut image)
        .map_err(|error| Unusable::Probe(error.to_string()))?;
    Ok(image)
}

fn try_out(backing: Backing, tree: &Path, data: &Path, layer: &Path) -> Result<(), Unusable> {
    erofs::mount(backing, tree, data, layer).map_err(|error| Unusable::Refused(error.to_string()))?;
    let _layer = Mounted { path: layer.to_owned(), hung: false };
    let file =
        fs::File::open(layer.join(FILE)).map_err(|error| Unusable::Unsafe(format!("open: {error}")))?;
    let read = |block: u64| {
        use std::os::unix::fs::FileExt as _;
        let mut bytes = [0; BLOCK];
        file.read_exact_at(&mut bytes, block * BLOCK as u64).map(|()| bytes)
    };
    match read(0) {
        Ok(bytes) if bytes == [short::FILLING; BLOCK] => {}
        Ok(_) => return Err(Unusable::Unsafe("the first block reads back with other bytes".to_owned())),
        Err(error) => return Err(Unusable::Unsafe(format!("the first block does not read back: {error}"))),
    }
    match read(1) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(()),
        Err(error) => Err(Unusable::Unsafe(format!("a short read ends with an unexpected error: {error}"))),
        Ok(_) => Err(Unusable::Unsafe(
            "this kernel fills short reads of a data file with zeros instead of EIO".to_owned(),
        )),
    }
}

/// Unmounts on drop.
struct Mounted {
    path: PathBuf,
    /// Requests may be waiting: they are ended first.
    hung: bool,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.hung
            && let Ok(connection) = peel_fusefs::Connection::at(&self.path)
        {
            // Fails where fusectl cannot be mounted; the unmount then has to do.
            let _ = connection.abort();
        }
        if let Err(error) = peel_fusefs::detach(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "probe cannot be unmounted");
        }
    }
}
