//! When a layer's chunk groups were last used: memory for the readers, a small file for the next process.
//!
//! An epoch is a second of the clock that housekeeping winds up ([`Clock`]), so a group is written to at most once in
//! a round of it, however often it is read, and the file is written with the maps. It is a hint: a file that is
//! missing, of another shape, or older than it should be makes a group look older than it is.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::groups::Grouping;

const NAME: &str = "epochs";
const MAGIC: [u8; 8] = *b"PEELEPO\x1a";
const VERSION: u32 = 1;
/// Magic, version, number of groups, length of a group, eight zeros.
const HEADER_BYTES: usize = 32;

/// The time of reads, in seconds since 1970; never goes back within a process.
#[derive(Debug)]
pub(crate) struct Clock(AtomicU32);

impl Default for Clock {
    fn default() -> Self {
        Self(seconds(SystemTime::now()).into())
    }
}

impl Clock {
    pub(crate) fn advance(&self, now: SystemTime) {
        self.0.fetch_max(seconds(now), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

fn seconds(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(since).unwrap_or(u32::MAX)
}

/// The epochs of one layer's groups; 0 for never.
#[derive(Debug)]
pub(super) struct Epochs {
    pub(super) grouping: Grouping,
    groups: Box<[AtomicU32]>,
}

impl Epochs {
    pub(super) fn new(grouping: Grouping) -> Self {
        Self { grouping, groups: (0..grouping.count()).map(|_| AtomicU32::new(0)).collect() }
    }

    pub(super) fn get(&self, group: u32) -> u32 {
        self.at(group).map_or(0, |epoch| epoch.load(Ordering::Relaxed))
    }

    /// Something in the groups of `start..=last` was used. Says whether this is news.
    pub(super) fn touch(&self, start: u64, last: u64, now: u32) -> bool {
        let mut news = false;
        for group in self.grouping.of(start)..=self.grouping.of(last) {
            let Some(epoch) = self.at(group) else { break };
            // A plain store: who loses a race loses it to somebody who read at the same time.
            if epoch.load(Ordering::Relaxed) != now {
                epoch.store(now, Ordering::Relaxed);
                news = true;
            }
        }
        news
    }

    fn at(&self, group: u32) -> Option<&AtomicU32> {
        self.groups.get(usize::try_from(group).ok()?)
    }

    /// Takes over what an earlier process left in `dir`; none of it is later than `now`.
    pub(super) fn load(&self, dir: &Path, now: u32) -> io::Result<()> {
        let file = match fs::read(dir.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let Some((header, epochs)) = file.split_at_checked(HEADER_BYTES) else { return Ok(()) };
        if *header == self.header() && epochs.len() == self.groups.len() * 4 {
            for (group, epoch) in self.groups.iter().zip(epochs.as_chunks().0) {
                group.store(u32::from_le_bytes(*epoch).min(now), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Writes the file in `dir`, in place: it belongs to no data file, and a torn one is a hint like any other.
    pub(super) fn save(&self, dir: &Path) -> io::Result<()> {
        let mut bytes = self.header().to_vec();
        bytes.extend(self.groups.iter().flat_map(|epoch| epoch.load(Ordering::Relaxed).to_le_bytes()));
        let file =
            File::options().write(true).create(true).truncate(false).mode(0o600).open(dir.join(NAME))?;
        file.write_all_at(&bytes, 0)?;
        file.set_len(bytes.len() as u64)
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&self.grouping.count().to_le_bytes());
        header[16..24].copy_from_slice(&self.grouping.length().to_le_bytes());
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_over_a_restart_and_never_in_the_future() {
        let dir = tempfile::tempdir().unwrap();
        let grouping = Grouping::new(10 << 20, 2 << 20);
        let epochs = Epochs::new(grouping);
        assert!(epochs.touch(0, 100, 7));
        assert!(!epochs.touch(50, 60, 7), "written once an epoch");
        assert!(epochs.touch((4 << 20) - 1, 6 << 20, 9));
        // Beyond the end: nothing.
        assert!(!epochs.touch(1 << 40, 1 << 41, 9));
        epochs.save(dir.path()).unwrap();
        let again = Epochs::new(grouping);
        again.load(dir.path(), 8).unwrap();
        assert_eq!((0..6).map(|group| again.get(group)).collect::<Vec<_>>(), [7, 8, 8, 8, 0, 0]);
        // Another shape, a cut file, none: all look old.
        let other = Epochs::new(Grouping::new(20 << 20, 2 << 20));
        other.load(dir.path(), 9).unwrap();
        assert_eq!(other.get(0), 0);
        let path = dir.path().join(NAME);
        fs::write(&path, &fs::read(&path).unwrap()[..40]).unwrap();
        other.load(dir.path(), 9).unwrap();
        fs::remove_file(&path).unwrap();
        other.load(dir.path(), 9).unwrap();
        assert_eq!(other.get(0), 0);
    }

    #[test]
    fn a_hostile_size_takes_bounded_memory() {
        let grouping = Grouping::new(u64::MAX / 2, 1);
        assert!(grouping.count() <= 1 << 16);
        assert!(Epochs::new(grouping).touch(0, u64::MAX / 2, 1));
        assert_eq!(Epochs::new(Grouping::new(0, 0)).get(0), 0);
    }
}
