//! A disk that is full, for real: a small ext4 of its own. As root.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::*;

/// An ext4 of 32 MiB on a loop device, until it is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let image = directory.path().join("image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        // Nothing is kept back for root.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        let disk = Self(directory);
        fs::create_dir(disk.path()).unwrap();
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()));
        disk
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    /// Somebody fills it to the last byte.
    fn fill(&self) -> File {
        let mut file = File::options().append(true).create(true).open(self.path().join("foreign")).unwrap();
        for size in [64 << 10, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
            // Delayed allocation keeps some back.
            let _ = file.sync_all();
        }
        file
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

fn reserved(disk: &Path) -> u64 {
    fs::metadata(disk.join("metadata.reserve")).unwrap().len()
}

#[test]
fn what_is_removed_from_a_full_disk_is_written_down() {
    const SNAPSHOTS: usize = 500;
    let disk = Disk::new();
    let metadata = disk.path().join("metadata.redb");
    let store = Metastore::open(&metadata).unwrap();
    assert_eq!(reserved(&disk.path()), reserve::SIZE);
    let key = |number: usize| format!("k8s.io/{number}/{}", "x".repeat(200));
    (0..SNAPSHOTS).for_each(|number| insert(&store, &record(&store, &key(number), None)));
    let foreign = disk.fill();
    // Things are added for a while, too, and whoever filled the disk takes what becomes free.
    for number in 0..SNAPSHOTS {
        insert(&store, &record(&store, &key(SNAPSHOTS + number), None));
        store.write(|tx| tx.remove_snapshot(&key(number))).unwrap();
        disk.fill();
    }
    let left = reserved(&disk.path());
    assert!(left < reserve::SIZE, "the disk was not full");
    drop(store);
    let store = Metastore::open(&metadata).unwrap();
    assert_eq!(all(&store).unwrap().len(), SNAPSHOTS);
    assert_eq!(reserved(&disk.path()), left, "no room yet");
    foreign.set_len(0).unwrap();
    foreign.sync_all().unwrap();
    store.restore_reserve();
    assert_eq!(reserved(&disk.path()), reserve::SIZE);
}

#[test]
fn without_a_reserve_it_is_an_error_until_there_is_room() {
    let disk = Disk::new();
    let metadata = disk.path().join("metadata.redb");
    let store = Metastore::open(&metadata).unwrap();
    insert(&store, &record(&store, "base", None));
    File::options().write(true).open(disk.path().join("metadata.reserve")).unwrap().set_len(0).unwrap();
    let foreign = disk.fill();
    let mut number = 0;
    let failed = loop {
        number += 1;
        let record = record(&store, &format!("{number}/{}", "x".repeat(3000)), None);
        if let Err(error) = store.write::<_, MetastoreError>(|tx| tx.insert_snapshot(&record)) {
            break error;
        }
    };
    assert!(matches!(failed, MetastoreError::Storage(_)), "{failed}");
    drop(store);
    foreign.set_len(0).unwrap();
    let store = Metastore::open(&metadata).unwrap();
    assert_eq!(all(&store).unwrap().len(), number);
}
