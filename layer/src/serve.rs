//! The one seam between the filesystem and those who have the bytes.

use std::{fmt, ops::Range};

use crate::{BlobOffset, DataOffset, LayerDigest, VerifiedBytes};

/// Number of a layer's tree under the FUSE root: durable before it is visible, handed out in rising order,
/// never used twice while a connection lives (the kernel and leaked mounts keep old node ids).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a read cannot be answered. `fusefs` maps each to an errno in one place.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The layer is gone (removed while a leaked mount still shows it).
    #[error("layer is gone")]
    Gone,
    /// No source gave the bytes within the read timeout.
    #[error("no answer within the read timeout: {0}")]
    TimedOut(String),
    /// Every source failed for good.
    #[error("bytes cannot be fetched: {0}")]
    Unavailable(String),
    /// What came was not what the index promised, from every source.
    #[error("wrong bytes: {0}")]
    Corrupt(String),
    /// This node's own trouble (disk).
    #[error("local failure: {0}")]
    Local(String),
}

/// What a read calls, once, from any thread.
pub type ReadReply = Box<dyn FnOnce(Result<VerifiedBytes, ReadError>) + Send + 'static>;

/// What the filesystem shows: trees by slot, and the bytes behind them.
pub trait LayerSource: Send + Sync + 'static {
    /// The tree image of a slot (EROFS), or nothing when the slot is not in use. Never waits for the network.
    fn tree(&self, slot: Slot) -> Option<TreeImage>;

    /// Bytes of the data file behind `slot`: what a READ of it needs to know of the tree, for next to nothing. Never
    /// waits for the network.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the slot is not in use; else as reads of it fail.
    fn data_size(&self, slot: Slot) -> Result<DataOffset, ReadError>;

    /// All slots in use, for readdir of the root.
    fn slots(&self) -> Vec<Slot>;

    /// Exactly `range` of the data file behind `slot`, zero-padded past its end. Answers on the calling thread
    /// only if that takes no network; else later from another.
    fn read(&self, slot: Slot, range: Range<DataOffset>, reply: ReadReply);

    /// Capacity and free space to report, in bytes; answered without waiting.
    fn capacity(&self) -> (u64, u64);

    /// From now on `watch` is to know of all that is executed for layers on threads of the source's own. Called once,
    /// before anything is read; a source that does nothing on its own needs no watch.
    fn watched_by(&self, watch: std::sync::Arc<dyn Watch>) {
        let _ = watch;
    }
}

/// Keeps book of what is being executed, over the deaths of daemons: what was at several of them is their cause.
pub trait Watch: fmt::Debug + Send + Sync {
    /// `work` is being executed until the result is dropped. Nothing if it was the daemon's death before: then it is
    /// to be refused. What waits, for the network or for others, is not being executed.
    fn execute(&self, work: Work) -> Option<Box<dyn Send>>;
}

/// A piece of work on a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Its index is made from what describes it.
    Index(LayerDigest),
    /// These bytes of its data file are decoded or copied.
    Bytes(LayerDigest, Range<DataOffset>),
    /// These bytes of its blob are decompressed, on the way through all of them.
    Inflate(LayerDigest, Range<BlobOffset>),
    /// These bytes of its tar, as they come from there, are read.
    Untar(LayerDigest, Range<u64>),
}

/// A shared tree image: the whole EROFS metadata file, usually mapped. Metadata may come from a mapping (unlike
/// data, see [`crate::verified`]): replies copy it.
#[derive(Clone)]
pub struct TreeImage(std::sync::Arc<dyn AsRef<[u8]> + Send + Sync>);

impl TreeImage {
    /// Wraps whatever owns the bytes.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl AsRef<[u8]> for TreeImage {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl fmt::Debug for TreeImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeImage({} bytes)", self.bytes().len())
    }
}
