//! A read whose reply never comes: its process can be ended, and nobody else waits.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use peel_integration::images::{Content, Entry, HandMade, Image, small_app::base_layer};

use super::ground::{Ground, Reader, bounded};

/// What a pod may take that has nothing to wait for: less than `fetch.read_timeout`, after which the reads that are held
/// end by themselves. The CPU is shared.
const LIMIT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// One layer: busybox, `small`, and `big` of 8 MiB in chunks of 256 KiB, so that some of its pages are here and some not.
fn push(ground: &Ground) -> Result<(String, String)> {
    let mut entries = base_layer()?.entries().to_vec();
    entries.push(Entry::file("small", "small"));
    entries.push(Entry::file("big", Content::Noise { seed: 77, length: 8 * MIB }));
    let how = HandMade { chunk_size: 256 * 1024, pack: 0 };
    let image = Image::new(vec![how.estargz(&entries)?], &["/bin/busybox", "sleep", "3600"]);
    let layout = image.write(&ground.node.images().path().join("held"))?;
    ground.node.images().push(&layout, "held:it")?;
    Ok((ground.node.image("held:it"), layout.manifest()?.layers[0].digest.clone()))
}

pub(crate) fn nobody_else_waits(ground: &mut Ground) -> Result<()> {
    let (image, layer) = push(ground)?;
    let node = &ground.node;
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &[])?;
    let bystander = node.start_container(&image, &[])?;
    let big = container.rootfs.join("big");
    let head = || bounded("head", &["-c", "4096"], &big);
    let script = "cat /small; ls -l /big; head -c 4096 /big | sha256sum";
    let look = || node.exec(&bystander, &["sh", "-c", script]);
    let seen = (head()?, look()?.text());
    let hold = node.proxy().hold(peel_integration::proxy::Match::blob(&layer).from_agent("peel"));
    thread::scope(|scope| -> Result<()> {
        let readers = [Reader::start(&big)?, Reader::start(&big)?];
        hold.wait_for(1, SOON)?;
        ensure!((head()?, look()?.text()) == seen, "what is here changed");
        // A new container of the same layer comes and goes.
        let begun = Instant::now();
        let another = node.start_container(&image, &[])?;
        node.remove(&another)?;
        ensure!(begun.elapsed() < LIMIT, "another container took {:?}", begun.elapsed());
        for reader in readers {
            reader.kill()?;
        }
        ensure!((head()?, look()?.text()) == seen, "what is here changed");
        // The container of a reader that waits is removed under it.
        let stuck = scope.spawn(|| node.exec(&container, &["cat", "/big"]));
        thread::sleep(Duration::from_millis(300));
        ensure!(!stuck.is_finished(), "the reader did not wait");
        let begun = Instant::now();
        node.remove(&container)?;
        ensure!(begun.elapsed() < LIMIT, "removing took {:?}", begun.elapsed());
        // Killed or without a container to speak of: how containerd calls it differs.
        let _ = stuck.join().map_err(|_| anyhow!("the reader panicked"))?;
        Ok(())
    })?;
    hold.release();
    let sum = node.exec(&bystander, &["sh", "-c", "cat /big | wc -c"])?;
    ensure!(sum.text() == (8 * MIB).to_string(), "{sum:?}");
    node.remove(&bystander)
}
