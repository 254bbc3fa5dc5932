//! The kernel as the judge: it mounts what the writer wrote, and sees exactly the tree.
//!
//! Needs root, a kernel with file-backed EROFS (6.12) and a `/var/tmp` on an ordinary file system (ext4; not tmpfs,
//! not overlayfs). Where that is missing these tests fail: `cargo test -p peel-erofs --test images` does without.

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod foreign;
mod mounted;
mod special;

use common::{Gardener, Outcome};
use mounted::Mounted;
use peel_erofs::Image;

#[test]
fn random_trees_look_the_same() -> Outcome {
    for (seed, nodes) in [(1, 0), (2, 10), (3, 200), (4, 1500), (5, 1500), (6, 4000)] {
        let grown = Gardener::new(seed).grow(nodes, 50_000)?;
        let bytes = grown.image()?;
        let mounted = Mounted::with_data(&bytes, &grown)?;
        compare::tree(&mounted, &grown.tree, &Image::open(&bytes)?)?;
    }
    Ok(())
}
