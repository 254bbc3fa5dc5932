//! A layer that is the daemon's death while it is streamed: it is refused in the end, and all others are served.

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    images::{Content, Entry, Image, Layer, small_app::base_layer},
    node::{App, Images},
    peel::{Launch, Run},
    wait,
};

use crate::load::{LIMIT, answers, node, read_anew, stats};

fn content() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Some pieces.
    Content::Noise { seed: 9_100, length: 300 << 10 }.copy_to(&mut bytes)?;
    Ok(bytes)
}

/// Three pulls die of it. The next one says so, and the one after it is containerd's own.
fn the_layer_is_refused(place: &str, said: &str) -> Result<()> {
    let images = Images::start()?;
    let poison = Layer::gzip(vec![Entry::file("poison", content()?)]);
    let layout = Image::new(vec![base_layer()?, poison], &["/bin/busybox", "sleep", "3600"])
        .write(&images.path().join("poison"))?;
    images.push(&layout, "poison:1")?;
    let layer = layout.manifest()?.layers.pop().context("an image without layers")?.digest;
    let app = App::push(&images, "innocent")?;
    let failpoint = ("PEEL_FAILPOINT".to_owned(), format!("{place} {layer}=abort"));
    let launch = Launch { run: Run::Supervised, environment: vec![failpoint], ..Launch::default() };
    let mut node = node(&images, "erofs", launch)?;
    node.cri().pull(&app.image(&node))?;
    let before = node.start_container(&app.image(&node), &[])?;
    let image = node.image("poison:1");
    let mut errors = Vec::new();
    wait::until("an ordinary pull", LIMIT, || match node.cri().pull(&image) {
        Ok(_) => Ok(Some(())),
        Err(error) => {
            errors.push(format!("{error:#}"));
            answers(&node)?;
            Ok(None)
        }
    })?;
    let refused = |error: &&String| error.contains(&format!("the daemon died of {said}"));
    let refusal = errors.iter().find(refused).with_context(|| format!("nobody said why: {errors:#?}"))?;
    ensure!(refusal.contains(&layer) && refusal.contains(&image), "{refusal}");
    let container = node.start_container(&image, &[])?;
    ensure!(read_anew(&container.rootfs.join("poison"))? == content()?);

    let log = node.peel()?.log();
    let deaths = log.matches("the command ended and is started again").count();
    ensure!(deaths == 3, "{deaths} deaths: {log}");
    let said = node.exec(&before, &["cat", "/app/variant"])?;
    ensure!(said.text() == "innocent", "{said:?}");
    app.run(&node)?;
    ensure!(stats(&mut node)?["generation"] == 1);
    Ok(())
}

#[test]
fn decompressing_kills() -> Result<()> {
    the_layer_is_refused("inflate", "decompressing its blob")
}

#[test]
fn reading_the_tar_kills() -> Result<()> {
    the_layer_is_refused("untar", "reading its tar")
}
