//! Chains of which containerd unpacked a part: each image is all ours or all ordinary, but what an earlier pull
//! left stays as it is.

use anyhow::{Result, ensure};
use peel_integration::images::Entry;

use super::ground::{Ground, base, file, image, lazy};

/// The directory `/mixed` is only implied by the upper layer: it must look as the layer below has it.
pub(crate) fn ordinary_below_ours_above(ground: &mut Ground) -> Result<()> {
    let mixed =
        lazy(&[Entry::directory("mixed").mode(0o1750).owner(7, 8), Entry::file("mixed/below", "below")])?;
    let below = vec![base("ordinary-below")?, mixed];
    let mut all = below.clone();
    all.push(file("mixed/above", "above")?);
    let lazy_below = ground.push("ours-below-unused", &image(below))?;
    let below = ground.push_plain("ordinary-below", &lazy_below, &[0, 1])?;
    ground.pull(&below, &[0, 1])?;
    let all = ground.push("ours-above", &image(all))?;
    ground.pull(&all, &[])?;
    ensure!(ground.reads("peel", &all, 0)? == 0, "what is unpacked is not ours to read");
    ensure!(ground.layer(&all.layer(2)?)?[0]["ours"] == true);
    ensure!(ground.layer(&all.layer(0)?)?.iter().all(|layer| layer["ours"] == false));
    ground.check(&all, "cat /mixed/below /mixed/above; stat -c ' %a %u %g' /mixed", "belowabove 1750 7 8")?;
    ground.check(&below, "cat /mixed/below; test ! -e /mixed/above", "below")
}

/// And ours once more on top of that.
pub(crate) fn ours_below_ordinary_above(ground: &mut Ground) -> Result<()> {
    let mixed = lazy(&[Entry::directory("mixed").mode(0o1750).owner(7, 8), Entry::file("mixed/1", "1")])?;
    let (first, second, third) = (base("ours-below")?, mixed, file("mixed/2", "2")?);
    // Hides a file of the lazy layer below: containerd unpacks it onto a mount of that.
    let fourth = lazy(&[Entry::whiteout("mixed/1"), Entry::file("mixed/3", "3")])?;
    let fifth = file("mixed/4", "4")?;
    let layers = [first, second, third, fourth, fifth];
    let of = |count: usize| image(layers[..count].to_vec());
    let below = ground.push("ours-2", &of(2))?;
    ground.pull(&below, &[])?;
    let above = ground.push("ours-4", &of(4))?;
    let above = ground.push_plain("ordinary-4", &above, &[3])?;
    ground.pull(&above, &[2, 3])?;
    let reason = &ground.layer(&above.layer(2)?)?[0]["reason"];
    ensure!(reason.as_str().is_some_and(|reason| reason.contains("nondistributable")), "{reason}");
    let script = "cd /mixed && cat * && stat -c ' %a %u %g' /mixed";
    ground.check(&above, script, "23 1750 7 8")?;
    let top = ground.push("ours-5", &of(5))?;
    ground.pull(&top, &[])?;
    ground.check(&top, script, "234 1750 7 8")?;
    ground.check(&below, script, "1 1750 7 8")
}
