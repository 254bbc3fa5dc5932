//! What containers and containerd wait for once an image is pulled: only for the bytes that they read themselves.
//!
//! ```text
//! cargo test -p peel-integration --test reads    # as root, on Debian 12, with peel built
//! ```

use std::{thread, time::Duration};

use anyhow::{Result, anyhow, ensure};
use peel_integration::{
    containerd::Version,
    cri::ContainerSpec,
    images::small_app::big_volume_image,
    node::{App, Images, Node},
    proxy::{Fault, Match},
    wait,
};

/// Longest wait for something to begin.
const SOON: Duration = Duration::from_secs(60);

/// Readers of one layer whose requests are not answered keep nobody else waiting.
fn one_layer_is_stuck(version: Version) -> Result<()> {
    let images = Images::start()?;
    let (stuck, free) = (App::push(&images, "stuck")?, App::push(&images, "free")?);
    let mut node = Node::builder(version).images(&images).start()?;
    node.cri().pull(&stuck.image(&node))?;
    let container = node.start_container(&stuck.image(&node), &[])?;
    let hold = node.proxy().hold(stuck.reads());
    std::thread::scope(|scope| -> Result<()> {
        let read = |file: &'static str| node.exec(&container, &["wc", "-c", file]);
        let readers =
            ["/data/000", "/data/001", "/data/002", "/data/003"].map(|file| scope.spawn(move || read(file)));
        hold.wait_for(1, SOON)?;
        // Names and attributes of the same layer, and everything of the others.
        let list = node.exec(&container, &["ls", "-lR", "/data", "/app"])?;
        ensure!(list.exit_code == 0 && list.text().contains("003"), "{list:?}");
        node.cri().pull(&free.image(&node))?;
        free.run(&node)?;
        let other = node.start_container(&free.image(&node), &[])?;
        let sums = node.exec(&other, &["sh", "-c", "cat /data/* | wc -c"])?;
        ensure!(sums.text() == "4194304", "{sums:?}");
        node.remove(&other)?;
        let second = node.start_container(&stuck.image(&node), &[])?;
        node.remove(&second)?;
        ensure!(readers.iter().all(|reader| !reader.is_finished()), "a reader did not wait");
        hold.release();
        for reader in readers {
            let read = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
            ensure!(read.text().starts_with("1048576"), "{read:?}");
        }
        Ok(())
    })?;
    let stats = node.peel()?.json("stats")?;
    ensure!(stats["failed_reads"].as_u64().unwrap_or_default() == 0, "{stats}");
    node.remove(&container)
}

#[test]
fn one_layer_is_stuck_on_1_6() -> Result<()> {
    one_layer_is_stuck(Version::Debian12)
}

#[test]
fn one_layer_is_stuck_on_2() -> Result<()> {
    one_layer_is_stuck(Version::Sid)
}

/// A registry that is gone: what is cached works, also in new containers and after a restart of Peel; what is not
/// ends in an error after `fetch.read_timeout`, and nobody else waits for it.
fn registry_is_down(version: Version) -> Result<()> {
    let images = Images::start()?;
    let app = App::push(&images, "down")?;
    let config = "[fetch]\nread_timeout = \"3s\"".parse()?;
    let mut node = Node::builder(version).images(&images).peel_config(config).start()?;
    let image = app.image(&node);
    node.cri().pull(&image)?;
    app.run(&node)?;
    let down = node.proxy().inject(Match::all(), Fault::Disconnect);
    app.run(&node)?;
    let container = node.start_container(&image, &[])?;
    thread::scope(|scope| -> Result<()> {
        let cold = scope.spawn(|| node.exec(&container, &["cat", "/data/001"]));
        wait::until_true("the cold read to ask", SOON, || down.hits() > 0)?;
        ensure!(node.exec(&container, &["cat", "/app/variant"])?.text() == "down");
        let cold = cold.join().map_err(|_| anyhow!("the reader panicked"))??;
        ensure!(cold.exit_code != 0, "{cold:?}");
        let said = String::from_utf8_lossy(&cold.stderr).to_lowercase();
        ensure!(said.contains("i/o error") || said.contains("input/output error"), "{said}");
        Ok(())
    })?;
    let log = node.peel()?.log();
    ensure!(log.contains(&app.top) && log.contains(&node.proxy().address().to_string()), "{log}");
    node.remove(&container)?;

    node.peel()?.restart()?;
    node.wait_for_peel()?;
    app.run(&node)?;
    drop(down);
    node.run_to_end(&image, &["wc", "-c", "/data/001"])
}

#[test]
fn registry_is_down_on_1_6() -> Result<()> {
    registry_is_down(Version::Debian12)
}

#[test]
fn registry_is_down_on_2() -> Result<()> {
    registry_is_down(Version::Sid)
}

/// A layer of two images is read from the newer one's repository; the older one's may be gone.
#[test]
fn the_newer_image_says_where_a_shared_layer_is() -> Result<()> {
    let images = Images::start()?;
    let (older, newer) = (App::push(&images, "older")?, App::push(&images, "newer")?);
    let node = Node::builder(Version::Sid).images(&images).start()?;
    node.cri().pull(&older.image(&node))?;
    node.cri().pull(&newer.image(&node))?;
    let older = Match::when(|request| request.path.starts_with("/v2/older/"));
    let gone = node.proxy().inject(older, Fault::status(404));
    newer.run(&node)?;
    ensure!(gone.hits() == 0, "the older image's repository was asked first");
    Ok(())
}

/// CreateContainer copies a `VOLUME`; its 300 MB came with the pull, so that nobody waits for a link any more: there is
/// none.
#[test]
fn create_container_does_not_wait_for_a_big_volume() -> Result<()> {
    let images = Images::start()?;
    images.push(&big_volume_image()?, "volume:1")?;
    for version in [Version::Debian12, Version::Sid] {
        let node = Node::builder(version).images(&images).start()?;
        let image = node.image("volume:1");
        node.cri().pull(&image)?;
        let _down = node.proxy().inject(Match::all(), Fault::Disconnect);
        let pod = node.run_pod()?;
        node.cri().create_container(&pod, &ContainerSpec::new(&image, &[]))?;
    }
    Ok(())
}
