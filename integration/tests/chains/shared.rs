//! Layers that occur more than once.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use peel_integration::images::{Content, Entry};

use super::ground::{Ground, base, file, image, lazy, lowerdirs};

/// The second image reads no index again, and its containers stand on the same trees.
pub(crate) fn images_share_layers(ground: &mut Ground) -> Result<()> {
    let (below, common) = (base("shared")?, file("shared/common", "common")?);
    let one = image(vec![below.clone(), common.clone(), file("own", "one")?]);
    let two = image(vec![below, common, file("own", "two")?]);
    let (one, two) = (ground.push("shared-one", &one)?, ground.push("shared-two", &two)?);
    ground.pull(&one, &[])?;
    let first = ground.run(&one)?;
    ensure!(ground.sh(&first, "cat /own /shared/common")? == "onecommon");
    ground.pull(&two, &[])?;
    let second = ground.run(&two)?;
    ensure!(ground.sh(&second, "cat /own /shared/common")? == "twocommon");
    let reads = [0, 1, 2].map(|layer| ground.reads("peel", &two, layer));
    let [base, common, own] = reads;
    ensure!((base?, common?) == (0, 0) && own? > 0, "only the layer of its own was read");
    let (first_lower, second_lower) = (lowerdirs(&first)?, lowerdirs(&second)?);
    ensure!(first_lower[1..] == second_lower[1..], "{first_lower:?} {second_lower:?}");
    ensure!(first_lower[0] != second_lower[0] && first_lower.len() == 3, "{first_lower:?}");
    ground.node.remove(&first)?;
    ground.node.remove(&second)
}

/// overlayfs refuses one directory twice in a chain.
pub(crate) fn one_layer_twice(ground: &mut Ground) -> Result<()> {
    let content = Content::Noise { seed: 5, length: 300_000 };
    let twice =
        lazy(&[Entry::directory("twice"), Entry::file("twice/a", "a"), Entry::file("twice/b", content)])?;
    let between = lazy(&[Entry::whiteout("twice/a"), Entry::file("twice/c", "c")])?;
    let layers = vec![base("twice")?, twice.clone(), twice.clone(), between, twice];
    let pushed = ground.push("twice", &image(layers))?;
    ground.pull(&pushed, &[])?;
    let container = ground.run(&pushed)?;
    ensure!(
        ground.sh(&container, "cd /twice && ls | xargs echo && cat a c && wc -c <b")? == "a b c\nac300000"
    );
    let lower = lowerdirs(&container)?;
    let different: HashSet<_> = lower.iter().collect();
    ensure!(lower.len() == 5 && different.len() == 5, "{lower:?}");
    ground.node.remove(&container)
}
