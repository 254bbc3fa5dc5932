//! What is agreed with the kernel at INIT, and why.
//!
//! The kernel offers capabilities; only what is offered may be asked for. Wanted, where offered:
//!  - `PARALLEL_DIROPS`: without it one waiting LOOKUP blocks every other in its directory, unkillably;
//!  - `ASYNC_READ`, `ASYNC_DIO`: reads do not wait for each other;
//!  - `NO_OPEN_SUPPORT`, `NO_OPENDIR_SUPPORT`: open and opendir are answered ENOSYS once, and never asked again;
//!    files then keep their pages and directories are cached. An open costs 1.2 instead of 4 of overlayfs;
//!  - `DO_READDIRPLUS`, always and not by the kernel's guess (`READDIRPLUS_AUTO`): attributes cost us a copy from
//!    memory, and `ls -l` of a large directory would send a LOOKUP for each name after its first page;
//!  - `CACHE_SYMLINKS`;
//!  - `ALLOW_IDMAP`: pods in user namespaces mount lowerdirs idmapped;
//!  - `AUTO_INVAL_DATA`: lets the kernel's copy of the *root* directory end when its mtime moves (slots come and
//!    go). Inside a tree nothing ever moves, and valid attributes are not asked for again, so it costs nothing.
//!
//! `NO_OPEN` holds for the whole connection from its first ENOSYS on, data files included. Under the kernel's EROFS a
//! data file wants its own open (`FOPEN_DIRECT_IO`), so there ([`Front::Data`]) opens are answered, and `NO_OPEN` is
//! not asked for. A tree that is shown through such a connection all the same pays for its opens.
//!
//! Not wanted: `POSIX_ACL` (would ask for two xattrs of every inode), `EXPLICIT_INVAL_DATA` (the opposite of the
//! above), `HANDLE_KILLPRIV` (nothing is written), `EXPORT_SUPPORT`, passthrough.

use std::io;

use fuser::{InitFlags, KernelConfig};

use crate::{Config, Front};

const WANTED: InitFlags = InitFlags::FUSE_PARALLEL_DIROPS
    .union(InitFlags::FUSE_ASYNC_READ)
    .union(InitFlags::FUSE_ASYNC_DIO)
    .union(InitFlags::FUSE_NO_OPEN_SUPPORT)
    .union(InitFlags::FUSE_NO_OPENDIR_SUPPORT)
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_CACHE_SYMLINKS)
    .union(InitFlags::FUSE_ALLOW_IDMAP)
    .union(InitFlags::FUSE_AUTO_INVAL_DATA);

/// The outcome of a handshake: all that a successor needs to repeat it before the same kernel connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitParameters {
    /// Protocol version of the kernel.
    pub kernel_major: u32,
    /// Protocol version of the kernel.
    pub kernel_minor: u32,
    /// Capability bits that the kernel offered, as in `fuse_init_in` (`flags | flags2 << 32`).
    pub offered: u64,
    /// Capability bits that we asked for, all of them offered. The FUSE crate adds its own few.
    pub requested: u64,
    /// Read-ahead that the kernel proposed, in bytes; accepted as it is.
    pub max_readahead: u32,
    /// Largest request in bytes. Peel never writes, but READs are cut by the same number.
    pub max_write: u32,
    /// Background requests (read-ahead) that the kernel keeps in flight.
    pub max_background: u16,
    /// Background requests from which on the kernel drops read-ahead; equal to `max_background`, since a stalled
    /// layer must not cost the others theirs.
    pub congestion_threshold: u16,
}

impl InitParameters {
    /// Whether the kernel stops asking for OPEN once it was answered ENOSYS.
    #[must_use]
    pub fn without_open(&self) -> bool {
        self.requested & InitFlags::FUSE_NO_OPEN_SUPPORT.bits() != 0
    }

    /// Whether the kernel stops asking for OPENDIR once it was answered ENOSYS.
    #[must_use]
    pub fn without_opendir(&self) -> bool {
        self.requested & InitFlags::FUSE_NO_OPENDIR_SUPPORT.bits() != 0
    }

    /// Whether a connection that was begun with these parameters is what `config` would begin now.
    #[must_use]
    pub fn fits(&self, config: &Config) -> bool {
        let Config { front, max_request, max_background, .. } = *config;
        let asked = wanted(front).bits() & self.offered;
        (self.requested, self.max_write, self.max_background) == (asked, max_request, max_background)
    }

    /// Whether the kernel sends requests again that nobody answered (from 6.9): a killed server is then not noticed.
    #[must_use]
    pub fn resends(&self) -> bool {
        self.offered & InitFlags::FUSE_HAS_RESEND.bits() != 0
    }

    /// Whether the mount can be mounted idmapped.
    #[must_use]
    pub fn idmappable(&self) -> bool {
        self.requested & InitFlags::FUSE_ALLOW_IDMAP.bits() != 0
    }
}

fn wanted(front: Front) -> InitFlags {
    match front {
        Front::Trees => WANTED,
        Front::Data => WANTED - InitFlags::FUSE_NO_OPEN_SUPPORT,
    }
}

/// What `config` wants, of what the kernel offers.
pub(crate) fn negotiate(kernel: &mut KernelConfig, config: &Config) -> io::Result<InitParameters> {
    let offered = kernel.capabilities();
    // The only way to learn the kernel's proposal: ask for more, and be told the most.
    let max_readahead = kernel.set_max_readahead(u32::MAX).map_or_else(|most| most, |_| u32::MAX);
    let version = kernel.kernel_abi();
    let agreed = InitParameters {
        kernel_major: version.0,
        kernel_minor: version.1,
        offered: offered.bits(),
        requested: (wanted(config.front) & offered).bits(),
        max_readahead,
        max_write: config.max_request,
        max_background: config.max_background,
        congestion_threshold: config.max_background,
    };
    agree(kernel, &agreed)?;
    Ok(agreed)
}

/// Answers the kernel with `agreed`: what was just chosen, or what a predecessor chose.
pub(crate) fn agree(kernel: &mut KernelConfig, agreed: &InitParameters) -> io::Result<()> {
    let refused = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what} out of range"));
    let requested = InitFlags::from_bits_retain(agreed.requested);
    kernel.add_capabilities(requested).map_err(|_| refused("capabilities"))?;
    kernel.set_max_write(agreed.max_write).map_err(|_| refused("max_request"))?;
    kernel.set_max_background(agreed.max_background).map_err(|_| refused("max_background"))?;
    kernel.set_congestion_threshold(agreed.congestion_threshold).map_err(|_| refused("max_background"))?;
    Ok(())
}
