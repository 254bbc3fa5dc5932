//! Where things are, and which boot this is.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{CacheError, DiskUsage, Limits, disk, groups::GROUP_BYTES};

/// What [`crate::Cache::open`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Index files. Losing them means that layers are resolved again.
    pub index_dir: PathBuf,
    /// Verified chunks: disposable.
    pub cache_dir: PathBuf,
    /// The boot that live maps are trusted in.
    pub boot: BootId,
    /// How many layers stay open though nobody holds them, so that their content is found. Two file
    /// descriptors and two mappings each.
    pub open_layers: usize,
    /// The watermarks; without them the cache grows until the disk is full.
    pub limits: Option<Limits>,
    /// How the filesystem is asked for its usage.
    pub disk_usage: fn(&Path) -> io::Result<DiskUsage>,
    /// How long blocks that were freed, and do not show in the filesystem's usage yet, count as available.
    pub pending: Duration,
    /// Bytes of a chunk group: neighbours in a layer that are kept or evicted together.
    pub group_bytes: u64,
    /// Of so many bytes that are read, one is read in a chunk that is checked against its digest once more (1, in debug
    /// builds: all of them). Bytes, not reads: a read of 4 KiB is not worth hashing 4 MiB as often.
    pub recheck_one_in: u32,
}

impl Config {
    /// Defaults below `index_dir` and `cache_dir`.
    ///
    /// # Errors
    /// The kernel does not tell its boot id.
    pub fn new(index_dir: impl Into<PathBuf>, cache_dir: impl Into<PathBuf>) -> Result<Self, CacheError> {
        Ok(Self {
            index_dir: index_dir.into(),
            cache_dir: cache_dir.into(),
            boot: BootId::current()?,
            // Twice the 200 layers that a node is designed for would be 800 descriptors; a layer beyond this
            // number is opened again when somebody asks for it.
            open_layers: 256,
            limits: None,
            disk_usage: DiskUsage::of,
            // XFS and btrfs take a few seconds under load.
            pending: Duration::from_secs(30),
            group_bytes: GROUP_BYTES,
            // Hashing costs some ten times what the read does; a thousandth of that is lost in its noise.
            recheck_one_in: if cfg!(debug_assertions) { 1 } else { 1000 },
        })
    }
}

/// One boot of the machine. Page cache that was not yet on disk is lost with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BootId([u8; 16]);

impl BootId {
    /// The boot that this process runs in.
    ///
    /// # Errors
    /// `/proc` is not mounted or says something else.
    pub fn current() -> Result<Self, CacheError> {
        const PATH: &str = "/proc/sys/kernel/random/boot_id";
        let text = std::fs::read_to_string(PATH).map_err(disk::at(PATH))?;
        Self::parse(text.trim())
            .ok_or_else(|| CacheError::Damaged { path: PATH.into(), reason: "not a UUID".to_owned() })
    }

    /// A boot id that was stored, or one made up for a test.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn parse(uuid: &str) -> Option<Self> {
        let digits = uuid.replace('-', "");
        let value = u128::from_str_radix(&digits, 16).ok()?;
        (digits.len() == 32).then(|| Self(value.to_be_bytes()))
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootId({:032x})", u128::from_be_bytes(self.0))
    }
}
