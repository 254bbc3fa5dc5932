//! Records as the rest of the daemon sees them, and their stored form (`peel.metadata.v1`).

use std::{
    collections::BTreeMap,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use peel_layer::ChainId;
use peel_proto::peel::metadata::v1 as stored;
pub use peel_proto::peel::metadata::v1::RemoteSnapshot;

/// Labels of a snapshot. Ordered, so that equal labels are stored as equal bytes.
pub type Labels = BTreeMap<String, String>;

/// Name of a snapshot's directory. Handed out in rising order and never used twice, so that a name that is
/// still in somebody's hands never shows another snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub u64);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What can be done with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Read only; cannot be committed.
    View,
    /// Writable.
    Active,
    /// Immutable; a parent for others.
    Committed,
}

impl fmt::Display for Kind {
    /// As containerd's filters name them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::View => "view",
            Self::Active => "active",
            Self::Committed => "committed",
        })
    }
}

/// Nanoseconds since 1970, UTC; enough until 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The system clock's time.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// Disk usage of a snapshot, without its parents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk.
    pub bytes: u64,
    /// Files, directories and the like; hard links once.
    pub inodes: u64,
}

/// One snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotRecord {
    /// Key, or name once committed: opaque text with spaces, slashes, colons.
    pub key: String,
    /// Its directory.
    pub id: SnapshotId,
    /// Key of the parent.
    pub parent: Option<String>,
    /// Kind.
    pub kind: Kind,
    /// When it was prepared or committed.
    pub created: Timestamp,
    /// When its labels last changed; equal to `created` before.
    pub updated: Timestamp,
    /// Labels; hostile.
    pub labels: Labels,
    /// Measured at the commit of an ordinary snapshot.
    pub usage: Option<Usage>,
    /// Set where Peel serves the layer. Such a snapshot is committed and has no directory.
    pub remote: Option<RemoteSnapshot>,
}

impl SnapshotRecord {
    /// Chain id of a layer that Peel serves.
    #[must_use]
    pub fn remote_chain(&self) -> Option<ChainId> {
        self.remote.as_ref()?.chain_id.parse().ok()
    }

    pub(super) fn to_stored(&self) -> stored::Snapshot {
        stored::Snapshot {
            id: self.id.0,
            parent: self.parent.clone().unwrap_or_default(),
            kind: match self.kind {
                Kind::View => stored::Kind::View,
                Kind::Active => stored::Kind::Active,
                Kind::Committed => stored::Kind::Committed,
            }
            .into(),
            created: self.created.0,
            updated: self.updated.0,
            labels: self.labels.clone(),
            usage: self.usage.map(|usage| stored::Usage { bytes: usage.bytes, inodes: usage.inodes }),
            remote: self.remote.clone(),
        }
    }

    pub(super) fn from_stored(key: &str, stored: stored::Snapshot) -> Result<Self, String> {
        let kind = match stored.kind() {
            stored::Kind::View => Kind::View,
            stored::Kind::Active => Kind::Active,
            stored::Kind::Committed => Kind::Committed,
            stored::Kind::Unknown => return Err(format!("kind {} is not known", stored.kind)),
        };
        Ok(Self {
            key: key.to_owned(),
            id: SnapshotId(stored.id),
            parent: (!stored.parent.is_empty()).then_some(stored.parent),
            kind,
            created: Timestamp(stored.created),
            updated: Timestamp(stored.updated),
            labels: stored.labels,
            usage: stored.usage.map(|usage| Usage { bytes: usage.bytes, inodes: usage.inodes }),
            remote: stored.remote,
        })
    }
}
