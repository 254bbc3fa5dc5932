//! Chains of snapshots: shared, mixed, doubled, in two namespaces, from other clients, removed.
//!
//! ```text
//! cargo test -p peel-integration --test chains    # as root, on Debian 12, with peel built
//! ```
//!
//! One node per containerd runs all scenarios, one after the other, each with images of its own; what they leave
//! on the node is what the last one, removal, has to clear away.

mod clients;
mod ground;
mod mixed;
mod namespaces;
mod removal;
mod shared;
mod warm;

use anyhow::{Context as _, Result};
use peel_integration::containerd::Version;

use self::ground::Ground;

type Scenario = fn(&mut Ground) -> Result<()>;

const SCENARIOS: [(&str, Scenario); 10] = [
    ("images share layers", shared::images_share_layers),
    ("one layer twice", shared::one_layer_twice),
    ("ordinary below, ours above", mixed::ordinary_below_ours_above),
    ("ours below, ordinary above", mixed::ours_below_ordinary_above),
    ("two namespaces", namespaces::one_image_in_two_namespaces),
    ("another blob under a known chain", namespaces::another_blob_under_a_known_chain),
    ("ordinary clients", clients::imported_and_pulled_by_ctr),
    ("blobs that containerd has", clients::blobs_of_the_content_store),
    ("warm container", warm::a_warm_container_is_quiet),
    ("removal", removal::everything_goes),
];

fn chains(version: Version, tree: &str) -> Result<()> {
    let mut ground = Ground::start(version, tree)?;
    for (name, scenario) in SCENARIOS {
        scenario(&mut ground).with_context(|| format!("scenario: {name}"))?;
    }
    Ok(())
}

#[test]
fn on_1_6() -> Result<()> {
    chains(Version::Debian12, "auto")
}

#[test]
fn on_2() -> Result<()> {
    chains(Version::Sid, "auto")
}

#[test]
fn through_fuse_on_1_6() -> Result<()> {
    chains(Version::Debian12, "fuse")
}

#[test]
fn through_fuse_on_2() -> Result<()> {
    chains(Version::Sid, "fuse")
}
