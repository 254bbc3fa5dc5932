//! What is done with cached content: names, units, goals.

use std::fmt;

/// One thing that a container does with its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// readdir and lstat of the whole tree.
    Walk,
    /// 10,000 small files, in random order: open, read one byte, close.
    Open10k,
    /// Every regular file read to its end.
    Readall,
    /// 4 KiB reads at random places of a 512 MiB file, one thread.
    #[value(name = "rand4k.1")]
    Rand4k1,
    /// The same, four threads.
    #[value(name = "rand4k.4")]
    Rand4k4,
    /// 128 KiB reads at random places, one thread.
    #[value(name = "rand128k.1")]
    Rand128k1,
    /// The same, four threads.
    #[value(name = "rand128k.4")]
    Rand128k4,
    /// The 512 MiB file from its beginning to its end.
    Seq512m,
    /// A Python that imports what a small service imports.
    #[value(name = "python_start")]
    PythonStart,
}

/// What is in the page cache, the dentry cache and the inode cache when a workload begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caches {
    /// Nothing.
    Cold,
    /// Everything that an earlier run of the same workload left there.
    Warm,
}

impl Caches {
    pub(super) const ALL: [Self; 2] = [Self::Cold, Self::Warm];
}

impl fmt::Display for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        })
    }
}

impl Workload {
    /// All of them, in the order of the report.
    pub(super) const ALL: [Self; 9] = [
        Self::Walk,
        Self::Open10k,
        Self::Readall,
        Self::Rand4k1,
        Self::Rand4k4,
        Self::Rand128k1,
        Self::Rand128k4,
        Self::Seq512m,
        Self::PythonStart,
    ];

    /// Its name within a row's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Walk => "walk",
            Self::Open10k => "open10k",
            Self::Readall => "readall",
            Self::Rand4k1 => "rand4k.1",
            Self::Rand4k4 => "rand4k.4",
            Self::Rand128k1 => "rand128k.1",
            Self::Rand128k4 => "rand128k.4",
            Self::Seq512m => "seq512m",
            Self::PythonStart => "python_start",
        }
    }

    /// Unit of its cost: seconds of the whole, or microseconds of wall time per read.
    pub(super) fn unit(self) -> &'static str {
        if self.is_random() { "µs" } else { "s" }
    }

    fn is_random(self) -> bool {
        matches!(self, Self::Rand4k1 | Self::Rand4k4 | Self::Rand128k1 | Self::Rand128k4)
    }

    /// Highest ratio that Peel promises where the kernel has EROFS.
    pub(super) fn goal(self, caches: Caches) -> f64 {
        match caches {
            Caches::Warm => 1.05,
            Caches::Cold if self.is_random() || self == Self::Seq512m => 1.6,
            Caches::Cold => 1.1,
        }
    }
}
