//! Snapshots in the store: one record by key, and an index of each parent's children.

use redb::{ReadableTable, TableDefinition};

use peel_proto::peel::metadata::v1 as stored;

use super::{
    Kind, Labels, MetastoreError, ReadTx, RemoteSnapshot, SnapshotRecord, Table, Timestamp, Usage, WriteTx,
    open::{NEXT_ID, NUMBERS},
};

/// Snapshots by key.
const SNAPSHOTS: Table<&'static str, stored::Snapshot> = Table::new("snapshots");
/// (parent's key, child's key): whether a snapshot has children, without a walk.
const CHILDREN: TableDefinition<'static, (&'static str, &'static str), ()> = TableDefinition::new("children");

/// What a commit brings.
#[derive(Debug)]
pub struct Commit<'a> {
    /// New name; must be free.
    pub name: &'a str,
    /// Of the active snapshot.
    pub key: &'a str,
    /// Replace the active snapshot's.
    pub labels: Labels,
    /// Puts a snapshot without parent upon one (containerd 2.2, capability `rebase`).
    pub parent: Option<&'a str>,
    /// Of the upper directory.
    pub usage: Usage,
}

impl ReadTx {
    /// The snapshot of that key or name.
    ///
    /// # Errors
    /// `NotFound`, or the store cannot be read.
    pub fn snapshot(&self, key: &str) -> Result<SnapshotRecord, MetastoreError> {
        self.find_snapshot(key)?.ok_or_else(|| MetastoreError::NotFound(key.to_owned()))
    }

    /// The snapshot of that key or name, if there is one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn find_snapshot(&self, key: &str) -> Result<Option<SnapshotRecord>, MetastoreError> {
        self.get(&SNAPSHOTS, key)?.map(|stored| record(key, stored)).transpose()
    }

    /// The committed snapshot that a new one shall stand upon.
    ///
    /// # Errors
    /// `ParentNotFound`, `ParentNotCommitted`, or the store cannot be read.
    pub fn parent(&self, key: &str) -> Result<SnapshotRecord, MetastoreError> {
        usable_parent(key, self.find_snapshot(key)?)
    }

    /// The snapshot's ancestors, nearest first.
    ///
    /// # Errors
    /// A parent is missing, or they form a circle (the file was tampered with); or the store cannot be read.
    pub fn ancestors(&self, snapshot: &SnapshotRecord) -> Result<Vec<SnapshotRecord>, MetastoreError> {
        let mut chain: Vec<SnapshotRecord> = Vec::new();
        let mut next = snapshot.parent.clone();
        while let Some(key) = next {
            let parent = self.parent(&key)?;
            next = parent.parent.clone();
            chain.push(parent);
            // No chain is longer than this: the kernel stacks 500 directories at most.
            if chain.len() > 10_000 {
                return Err(MetastoreError::Circle(snapshot.key.clone()));
            }
        }
        Ok(chain)
    }

    /// Up to `limit` snapshots whose keys come after `after`, in the order of keys.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn snapshots_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<SnapshotRecord>, MetastoreError> {
        use std::ops::Bound;
        let Some(table) = self.open(&SNAPSHOTS)? else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        table
            .range::<&str>((from, Bound::Unbounded))?
            .take(limit)
            .map(|entry| {
                let (key, bytes) = entry?;
                record(key.value(), SNAPSHOTS.decode(&key.value(), bytes.value())?)
            })
            .collect()
    }

    /// Calls `each` with every snapshot, in the order of keys. Reads them in pages: memory does not grow with the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn each_snapshot(&self, mut each: impl FnMut(SnapshotRecord)) -> Result<(), MetastoreError> {
        const PAGE: usize = 256;
        let mut after: Option<String> = None;
        loop {
            let page = self.snapshots_after(after.as_deref(), PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            page.into_iter().for_each(&mut each);
        }
    }
}

impl WriteTx<'_> {
    /// Stores a new snapshot. Its parent must be committed.
    ///
    /// # Errors
    /// `Exists`, `ParentNotFound`, `ParentNotCommitted`, or the store cannot be written.
    pub fn insert_snapshot(&self, new: &SnapshotRecord) -> Result<(), MetastoreError> {
        if self.get(&SNAPSHOTS, new.key.as_str())?.is_some() {
            return Err(MetastoreError::Exists(new.key.clone()));
        }
        if let Some(parent) = &new.parent {
            usable_parent(parent, self.find_snapshot(parent)?)?;
        }
        self.link(new)?;
        let mut numbers = self.0.open_table(NUMBERS)?;
        let next = numbers.get(NEXT_ID)?.map_or(0, |value| value.value());
        numbers.insert(NEXT_ID, next.max(new.id.0.saturating_add(1)))?;
        Ok(())
    }

    /// Turns an active snapshot into a committed one.
    ///
    /// # Errors
    /// `NotFound`, `WrongKind`, `Exists`; with a parent also `ParentNotFound`, `RebaseNotCommitted`,
    /// `RebaseMismatch`; or the store cannot be written.
    pub fn commit_snapshot(&self, commit: Commit<'_>) -> Result<SnapshotRecord, MetastoreError> {
        if self.get(&SNAPSHOTS, commit.name)?.is_some() {
            return Err(MetastoreError::Exists(commit.name.to_owned()));
        }
        let mut snapshot = self.snapshot(commit.key)?;
        if snapshot.kind != Kind::Active {
            let (key, kind) = (snapshot.key, snapshot.kind);
            return Err(MetastoreError::WrongKind { key, kind, wanted: "active" });
        }
        self.unlink(&snapshot)?;
        if let Some(parent) = commit.parent {
            self.rebase(&mut snapshot, parent)?;
        }
        let now = Timestamp::now();
        snapshot.key = commit.name.to_owned();
        snapshot.kind = Kind::Committed;
        (snapshot.created, snapshot.updated) = (now, now);
        snapshot.labels = commit.labels;
        snapshot.usage = Some(commit.usage);
        self.link(&snapshot)?;
        Ok(snapshot)
    }

    fn rebase(&self, snapshot: &mut SnapshotRecord, parent: &str) -> Result<(), MetastoreError> {
        match &snapshot.parent {
            Some(current) if current == parent => Ok(()),
            Some(_) => {
                Err(MetastoreError::RebaseMismatch { key: snapshot.key.clone(), parent: parent.to_owned() })
            }
            None => {
                usable_parent(parent, self.find_snapshot(parent)?).map_err(|error| match error {
                    MetastoreError::ParentNotCommitted { parent, kind } => {
                        MetastoreError::RebaseNotCommitted { parent, kind }
                    }
                    error => error,
                })?;
                snapshot.parent = Some(parent.to_owned());
                Ok(())
            }
        }
    }

    /// Removes a snapshot that nothing stands upon, and gives back what it was.
    ///
    /// # Errors
    /// `NotFound`, `HasChildren`, or the store cannot be written.
    pub fn remove_snapshot(&self, key: &str) -> Result<SnapshotRecord, MetastoreError> {
        let snapshot = self.snapshot(key)?;
        let children = self.0.open_table(CHILDREN)?;
        if let Some(first) = children.range((key, "")..)?.next()
            && first?.0.value().0 == key
        {
            return Err(MetastoreError::HasChildren(key.to_owned()));
        }
        drop(children);
        self.unlink(&snapshot)?;
        Ok(snapshot)
    }

    /// Changes a snapshot's labels and the time of its last update. Labels with an empty value are none.
    ///
    /// # Errors
    /// `NotFound`, or the store cannot be written.
    pub fn update_labels(
        &self,
        key: &str,
        change: impl FnOnce(&mut Labels),
    ) -> Result<SnapshotRecord, MetastoreError> {
        let mut snapshot = self.snapshot(key)?;
        change(&mut snapshot.labels);
        snapshot.labels.retain(|_, value| !value.is_empty());
        snapshot.updated = Timestamp::now();
        self.put(&SNAPSHOTS, key, &snapshot.to_stored())?;
        Ok(snapshot)
    }

    /// Changes what is known of a layer that Peel serves. Times and labels stay: containerd does not see it.
    ///
    /// # Errors
    /// `NotFound` if there is no such snapshot or it is not remote; or the store cannot be written.
    pub fn update_remote(
        &self,
        key: &str,
        change: impl FnOnce(&mut RemoteSnapshot),
    ) -> Result<SnapshotRecord, MetastoreError> {
        let mut snapshot = self.snapshot(key)?;
        let remote = snapshot.remote.as_mut().ok_or_else(|| MetastoreError::NotFound(key.to_owned()))?;
        change(remote);
        self.put(&SNAPSHOTS, key, &snapshot.to_stored())?;
        Ok(snapshot)
    }

    /// The snapshot of that key or name.
    ///
    /// # Errors
    /// `NotFound`, or the store cannot be read.
    pub fn snapshot(&self, key: &str) -> Result<SnapshotRecord, MetastoreError> {
        self.find_snapshot(key)?.ok_or_else(|| MetastoreError::NotFound(key.to_owned()))
    }

    /// The next number of a sequence that starts at `first`; stored with the rest of the change, so that a
    /// number is used once, ever.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn next_number(&self, sequence: &'static str, first: u64) -> Result<u64, MetastoreError> {
        let mut numbers = self.0.open_table(NUMBERS)?;
        let number = numbers.get(sequence)?.map_or(first, |value| value.value());
        numbers.insert(sequence, number.saturating_add(1))?;
        Ok(number)
    }

    fn find_snapshot(&self, key: &str) -> Result<Option<SnapshotRecord>, MetastoreError> {
        self.get(&SNAPSHOTS, key)?.map(|stored| record(key, stored)).transpose()
    }

    fn link(&self, snapshot: &SnapshotRecord) -> Result<(), MetastoreError> {
        self.put(&SNAPSHOTS, snapshot.key.as_str(), &snapshot.to_stored())?;
        if let Some(parent) = &snapshot.parent {
            self.0.open_table(CHILDREN)?.insert((parent.as_str(), snapshot.key.as_str()), ())?;
        }
        Ok(())
    }

    fn unlink(&self, snapshot: &SnapshotRecord) -> Result<(), MetastoreError> {
        self.delete(&SNAPSHOTS, snapshot.key.as_str())?;
        if let Some(parent) = &snapshot.parent {
            self.0.open_table(CHILDREN)?.remove((parent.as_str(), snapshot.key.as_str()))?;
        }
        Ok(())
    }
}

fn usable_parent(key: &str, found: Option<SnapshotRecord>) -> Result<SnapshotRecord, MetastoreError> {
    let parent = found.ok_or_else(|| MetastoreError::ParentNotFound(key.to_owned()))?;
    if parent.kind != Kind::Committed {
        return Err(MetastoreError::ParentNotCommitted { parent: parent.key, kind: parent.kind });
    }
    Ok(parent)
}

fn record(key: &str, stored: stored::Snapshot) -> Result<SnapshotRecord, MetastoreError> {
    SnapshotRecord::from_stored(key, stored).map_err(|cause| MetastoreError::Record {
        table: "snapshots",
        key: key.to_owned(),
        cause,
    })
}
