//! Images that were made to do harm: a wrong index is not used, a wrong layer fails its pull, which says why, its retry
//! is an ordinary pull, and the daemon stays up and small.
//!
//! ```text
//! cargo test -p peel-integration --test hostile    # as root, on Debian 12, with peel built
//! ```
//!
//! One node per containerd takes it all, one after the other. The parsers' own tests (`layer/tests/hostile.rs`,
//! fuzzing) know more ways to be wrong; here it counts what containerd and the user see.

mod bombs;
mod claims;
mod defects;
mod node;
mod pods;
mod refused;

use anyhow::{Context as _, Result};
use peel_integration::containerd::Version;

use self::node::Victim;

type Scenario = fn(&mut Victim) -> Result<()>;

const SCENARIOS: [(&str, Scenario); 9] = [
    ("annotations of layers", claims::annotations_of_layers),
    ("labels of no unpacker", claims::labels_of_no_unpacker),
    ("another image's diff ids", claims::diff_ids_of_another_image),
    ("annotations of pods", pods::annotations_of_pods),
    ("bomb in a chunk", bombs::bomb_in_a_chunk),
    ("largest chunks at once", bombs::largest_chunks_at_once),
    ("layers whose index is refused", refused::layers_whose_index_is_refused),
    ("layers that are refused", refused::layers_that_are_refused),
    ("nothing stays", refused::nothing_stays_of_refused_layers),
];

fn hostile(version: Version) -> Result<()> {
    let mut victim = Victim::start(version)?;
    for (name, scenario) in SCENARIOS {
        scenario(&mut victim).with_context(|| format!("scenario: {name}"))?;
        victim.is_well().with_context(|| format!("after the scenario: {name}"))?;
    }
    Ok(())
}

#[test]
fn on_1_6() -> Result<()> {
    hostile(Version::Debian12)
}

#[test]
fn on_2() -> Result<()> {
    hostile(Version::Sid)
}
