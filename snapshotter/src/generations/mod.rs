//! The FUSE connections of this root, one generation after the other: `<root>/fuse/<generation>`.
//!
//! There is one, for as long as all goes well: the holder keeps its device over the daemon's death, the metadata
//! keep what was agreed with the kernel, and the next daemon goes on where the last one stopped. But all containers
//! share it, so it can be replaced. When it is dead (aborted, or its device is lost) or cannot serve what is wanted
//! now (another front), a new generation is mounted beside it for new containers, and the old one, if it lives, ends
//! with its last overlay. A path is never used twice, so nobody finds another mount there.
//!
//! The order of steps is what a crash at any instruction asks for:
//!
//! ```text
//!  number stored ─▶ mounted ─▶ device with the holder ─▶ handshake ─▶ parameters stored ─▶ served, path told
//! ```
//!
//! A device without parameters is one that nobody was told of: it is closed, and its connection with it.
//!
//! The parent directory is 0700: the root of a mount whose daemon is dead hangs whoever looks at it.

mod begin;
mod keep;
mod look_after;
mod path;
mod record;
mod stranded;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use peel_fusefs::{Counters, Look, Server};
use peel_layer::serve::LayerSource;
use tokio::sync::mpsc;

use crate::{hold::Holder, metastore::Metastore};

pub use look_after::Ends;
pub use record::Generation;
pub use stranded::note;

/// What all generations are served with.
#[derive(Clone)]
pub struct Serving {
    /// Peel's root.
    pub root: PathBuf,
    /// Where what a successor needs is stored.
    pub metastore: Arc<Metastore>,
    /// Who keeps the devices; without one each start begins a generation.
    pub holder: Option<Holder>,
    /// What is served.
    pub source: Arc<dyn LayerSource>,
    /// How.
    pub config: peel_fusefs::Config,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving")
            .field("root", &self.root)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

/// The generations that are served now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Generations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    serving: Serving,
    served: Mutex<Served>,
    /// Generations whose connection ended.
    ended: mpsc::UnboundedSender<Generation>,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Served {
    servers: BTreeMap<Generation, Server>,
    current: Generation,
}

/// What the holder kept and is served again.
#[derive(Debug)]
struct Resumed {
    servers: BTreeMap<Generation, Server>,
    /// The one that is what is wanted now.
    current: Option<Generation>,
}

impl Generations {
    /// Goes on with the generations that the holder kept; begins one if none of them is what is wanted. To be called
    /// once it is sure that no other daemon serves this root. Needs neither network nor credentials.
    ///
    /// # Errors
    /// No generation can be begun: the kernel has no FUSE, or the metadata cannot be written. Or one that is alive
    /// cannot be served by this version; it stays with the holder.
    pub fn open(mut serving: Serving) -> anyhow::Result<(Self, Ends)> {
        path::make_parent(&serving.root)?;
        let (ended, ends) = mpsc::unbounded_channel();
        let mut kept = serving.kept();
        serving.config.marks = serving.marks(&mut kept);
        if let Some(marks) = &serving.config.marks {
            serving.source.watched_by(Arc::new(marks.clone()));
        }
        let Resumed { mut servers, current } = serving.resume_kept(kept, &ended)?;
        let current = match current {
            Some(generation) => generation,
            None => {
                let (generation, server) = serving.begin(&ended)?;
                servers.insert(generation, server);
                generation
            }
        };
        serving.say_what_is_not_covered(servers.get(&current));
        serving.forget_records(&servers.keys().copied().collect::<Vec<_>>())?;
        let served = Mutex::new(Served { servers, current });
        Ok((Self(Arc::new(Inner { serving, served, ended, lost: AtomicU64::new(0) })), Ends(ends)))
    }

    /// Where the generation for new containers is mounted.
    #[must_use]
    pub fn mount_point(&self) -> PathBuf {
        path::mount_point(&self.0.serving.root, self.current())
    }

    /// The generation for new containers.
    #[must_use]
    pub fn current(&self) -> Generation {
        self.0.served.lock().current
    }

    /// The process is about to end because it was told to: what is mounted and kept stays as the caller leaves it. Blocks
    /// where the kernel cannot send requests again: until what was taken is answered, for some seconds at most.
    pub fn end(&self) {
        /// Below what systemd and `peel supervise` wait before they kill, and above what a chunk takes on a slow link.
        const LIMIT: std::time::Duration = std::time::Duration::from_secs(8);
        let deadline = std::time::Instant::now() + LIMIT;
        let served = self.0.served.lock();
        for (generation, server) in &served.servers {
            let mount_point = path::mount_point(&self.0.serving.root, *generation);
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let unanswered = server.come_to_rest(&mount_point, left);
            if unanswered > 0 {
                tracing::error!(%generation, unanswered, "requests are not answered in time and end with an error");
            }
        }
        if let Some(marks) = &self.0.serving.config.marks {
            marks.end();
        }
        // Nobody mends or replaces a connection any more.
        std::mem::forget(served);
    }

    /// What the current one was asked.
    #[must_use]
    pub fn counters(&self) -> Option<Arc<Counters>> {
        let served = self.0.served.lock();
        served.servers.get(&served.current).map(|server| Arc::clone(server.counters()))
    }

    /// What the session threads of each are at.
    #[must_use]
    pub fn looks(&self) -> BTreeMap<Generation, Look> {
        let served = self.0.served.lock();
        served.servers.iter().map(|(generation, server)| (*generation, server.counters().look())).collect()
    }

    /// Connections that ended while they were the current one.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Keys of the snapshots that are mounted on connections that are dead. Reads mountinfo and the metadata.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn stranded(&self) -> anyhow::Result<Vec<String>> {
        let living: Vec<_> = self.0.served.lock().servers.keys().copied().collect();
        stranded::snapshots(&self.0.serving.root, &self.0.serving.metastore, &living)
    }
}
