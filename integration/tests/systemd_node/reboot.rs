//! The node goes down, orderly or not, and comes up without a registry.

use std::fs;

use anyhow::{Result, ensure};

use crate::ground::{Ground, PEEL_ROOT, names, on};

/// What a crash may leave in Peel's root.
const LEFTOVERS: [&str; 3] = ["snapshots/999999/fs", "trash/s999998/deep/tree", "fuse/999997"];

#[test]
fn cached_images_start_without_a_registry() -> Result<()> {
    on(|ground| {
        ground.machine()?.cri()?.pull(&ground.image)?;
        let reader = ground.start_reader("reader")?;
        // Whole passes: all of the image that is needed again is here.
        reader.goes_on()?;
        let expected = reader.read_anew("data/000")?;
        ground.stop_registry();
        ground.reboot()?;
        runs_again(ground, "after-reboot", &expected)?;

        let disk = ground.machine()?.root().join(PEEL_ROOT.trim_start_matches('/'));
        for leftover in LEFTOVERS {
            fs::create_dir_all(disk.join(leftover))?;
        }
        ground.cut_power();
        ground.start()?;
        runs_again(ground, "after-power-cut", &expected)?;
        let fuse = names(&disk.join("fuse"));
        ensure!(fuse.len() == 1, "mount points of earlier boots are left: {fuse:?}");
        ensure!(!names(&disk.join("snapshots")).contains(&"999999".to_owned()), "half a snapshot is left");
        ensure!(names(&disk.join("trash")).is_empty(), "trash is left");
        Ok(())
    })
}

fn runs_again(ground: &Ground, name: &str, expected: &[u8]) -> Result<()> {
    let machine = ground.machine()?;
    ensure!(machine.cri()?.image(&ground.image)?.is_some(), "containerd lost the image {name}");
    let reader = ground.start_reader(name)?;
    reader.goes_on()?;
    ensure!(reader.read_anew("data/000")? == expected, "wrong bytes {name}");
    ground.fuse_mount().map(drop)
}
