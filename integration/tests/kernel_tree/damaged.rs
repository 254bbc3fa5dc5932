//! Files of Peel's own that changed on the disk: noticed by digests before the kernel or a reader gets them, and made
//! anew where their source is at hand.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    images::{Content, Entry, HandMade, Image, small_app::base_layer},
    node::Node,
    proxy::{Fault, Match},
};
use rustix::fs::{Advice, fadvise};

use super::ground::{Ground, answers, bounded};

/// The file `name` that Peel has of a layer, below `folder` of its root.
fn file_of(node: &mut Node, layer: &str, folder: &str, name: &str) -> Result<PathBuf> {
    let digits = layer.trim_start_matches("sha256:");
    let folder = node.peel()?.root().join(folder);
    for found in fs::read_dir(&folder)? {
        let found = found?.path();
        if found.file_name().is_some_and(|name| name.to_string_lossy().starts_with(digits)) {
            return Ok(found.join(name));
        }
    }
    anyhow::bail!("{} has nothing of {layer}", folder.display())
}

/// Stops Peel, has `change` change the layer's tree image, and starts Peel again.
fn change_tree(node: &mut Node, layer: &str, change: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let tree = file_of(node, layer, "index", "tree.erofs")?;
    node.peel()?.stop()?;
    change(&File::options().read(true).write(true).open(&tree)?)?;
    node.peel()?.start_again()?;
    answers(node)
}

/// Behind the first block, the only one that has a checksum of EROFS' own: the kernel would not notice.
fn flip_a_bit(tree: &File) -> Result<()> {
    let mut byte = [0];
    tree.read_exact_at(&mut byte, 4096 + 4)?;
    Ok(tree.write_all_at(&[byte[0] ^ 1], 4096 + 4)?)
}

/// An image whose topmost layer has more of a tree than one block holds; gives the layer's digest too.
fn pull(ground: &Ground, name: &str) -> Result<(String, String)> {
    let how = HandMade::default();
    let mut entries = vec![Entry::directory("many"), Entry::file("word", name)];
    entries.extend((0..100).map(|number| Entry::file(format!("many/{number}"), "")));
    entries.push(Entry::file("big", Content::Noise { seed: 99, length: 1 << 20 }));
    let layers = vec![how.estargz(base_layer()?.entries())?, how.estargz(&entries)?];
    let layout = Image::new(layers, &["/bin/busybox", "sleep", "3600"])
        .write(&ground.node.images().path().join(name))?;
    let name = format!("{name}:it");
    ground.node.images().push(&layout, &name)?;
    let image = ground.node.image(&name);
    ground.node.cri().pull(&image)?;
    let top = layout.manifest()?.layers.pop().context("an image without layers")?;
    Ok((image, top.digest))
}

/// A container of `image` has its layers' names and bytes, of which `word` is the last.
fn run(node: &Node, image: &str, word: &str) -> Result<()> {
    let container = node.start_container(image, &[])?;
    let said = node.exec(&container, &["sh", "-c", "ls /many | wc -l; cat /word"])?;
    ensure!(said.text() == format!("100\n{word}"), "{said:?}");
    node.remove(&container)
}

/// A tree image: built again from the registry; refused with the reason while there is none, and no other image with it.
pub(crate) fn tree_images_are_built_again(ground: &mut Ground) -> Result<()> {
    let (image, layer) = pull(ground, "damaged")?;
    let (beside, _) = pull(ground, "beside")?;
    let node = &mut ground.node;
    run(node, &image, "damaged")?;
    run(node, &beside, "beside")?;
    change_tree(node, &layer, flip_a_bit)?;
    run(node, &image, "damaged")?;
    let log = node.peel()?.log();
    ensure!(log.contains("index is damaged and read again"), "{log}");

    change_tree(node, &layer, |tree| Ok(tree.set_len(4096)?))?;
    let down = node.proxy().inject(Match::all(), Fault::Disconnect);
    let refused = node.start_container(&image, &[]).err().context("a damaged layer was mounted")?;
    let text = format!("{refused:#}");
    ensure!(text.contains(&layer) && text.contains(&image), "{text}");
    // A broken layer is that layer's problem: what is cached needs neither it nor the registry.
    run(node, &beside, "beside")?;
    drop(down);
    run(node, &image, "damaged")
}

/// The cached bytes of a layer, cut off: fetched again, and no reader hears of it.
pub(crate) fn cut_bytes_are_fetched_again(ground: &mut Ground) -> Result<()> {
    let (image, layer) = pull(ground, "cut")?;
    let node = &mut ground.node;
    let container = node.start_container(&image, &[])?;
    let file = container.rootfs.join("big");
    let read = || bounded("sha256sum", &[], &file);
    let before = read()?;
    let data = File::options().write(true).open(file_of(node, &layer, "cache", "data")?)?;
    let length = data.metadata()?.len();
    data.set_len(4096)?;
    fadvise(&File::open(&file)?, 0, None, Advice::DontNeed)?;
    node.proxy().clear();
    ensure!(read()? == before, "other bytes");
    ensure!(node.proxy().bytes_of(&Match::blob(&layer)) > 0, "cut bytes were read from nowhere: {length}");
    node.remove(&container)
}
