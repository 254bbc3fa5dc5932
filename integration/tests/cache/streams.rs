//! Layers without an index, which are written whole or not at all.

use anyhow::{Context as _, Result, ensure};
use peel_integration::peel::Run;

use crate::ground::{Ground, highest_usage, plain_image, read_all, read_files, used_percent, write_foreign};

/// Files of 1 MiB in the plain image: compressed and as files, they are 24 % of the disk.
const PLAIN_FILES: u64 = 24;
const PLAIN: u64 = 9;

#[test]
fn a_plain_image_makes_eviction_begin_and_waits_for_it() -> Result<()> {
    let mut ground = Ground::start(Run::Alone)?;
    let root = ground.root()?;
    for number in [0, 1] {
        read_all(&ground.containers[usize::try_from(number)?], number)?;
    }
    while used_percent(&root)? < 78.0 {
        write_foreign(&root, 1 << 20)?;
    }
    let evicted = ground.stats()?["evicted_chunks"].as_u64().context("evicted_chunks")?;

    ground.node.images().push_image(&plain_image(PLAIN, PLAIN_FILES)?, "plain:1")?;
    let image = ground.node.image("plain:1");
    let most = highest_usage(&root, || ground.node.cri().pull(&image).map(drop))?;
    // 80 and what is in flight, with an index and metadata.
    ensure!((79.0..84.0).contains(&most), "usage was {most} % at most");
    let stats = ground.stats()?;
    ensure!(stats["evicted_chunks"].as_u64() > Some(evicted), "{stats}");
    let container = ground.node.start_container(&image, &[])?;
    read_files(&container, PLAIN, PLAIN_FILES)?;
    // What was evicted is fetched again, with the plain image there.
    read_all(&ground.containers[0], 0)?;
    ground.check_stats()
}

#[test]
fn without_anything_to_evict_it_is_written_up_to_the_end_of_the_disk() -> Result<()> {
    let mut ground = Ground::start(Run::Alone)?;
    let root = ground.root()?;
    // More than what goes with eviction, down to what is never evicted, and the image together.
    while used_percent(&root)? < 82.0 {
        write_foreign(&root, 1 << 20)?;
    }
    ground.wait_for_state(true)?;
    ground.node.images().push_image(&plain_image(PLAIN, 6)?, "small:1")?;
    let image = ground.node.image("small:1");
    ground.node.cri().pull(&image)?;
    let container = ground.node.start_container(&image, &[])?;
    read_files(&container, PLAIN, 6)?;

    ground.node.images().push_image(&plain_image(PLAIN + 1, PLAIN_FILES)?, "large:1")?;
    let refused = ground.node.cri().pull(&ground.node.image("large:1")).err().context("it found room")?;
    let refused = format!("{refused:#}");
    ensure!(refused.contains("no room to stream the layer"), "{refused}");
    ensure!(used_percent(&root)? < 95.0, "what came of it is left behind: {} %", used_percent(&root)?);
    read_files(&container, PLAIN, 6)?;
    ground.check_stats()
}
