//! Which front end this node gets, and why: decided at start, shown by `peel check`.

use std::{fmt, path::Path};

use super::{
    Backing, Front,
    probe::{Unusable, probe},
};
use crate::config::{Config, Tree};

/// What was tried, and what follows.
#[derive(Debug)]
pub struct Check {
    /// How layers become lowerdirs.
    pub front: Front,
    /// Each backing that was tried.
    tried: Vec<(Backing, Result<(), Unusable>)>,
    wanted: Tree,
}

/// The configuration asks for what this node cannot do.
#[derive(Debug, thiserror::Error)]
#[error(
    "tree = \"erofs\", but the kernel cannot mount layers: {0}; set tree = \"auto\" to use FUSE where EROFS fails"
)]
pub struct Impossible(String);

/// Finds the front end for `config`, with trials below `root`.
///
/// # Errors
/// [`Impossible`].
pub fn check(config: &Config, root: &Path) -> Result<Check, Impossible> {
    let wanted = config.tree;
    let mut tried = Vec::new();
    if wanted == Tree::Fuse {
        return Ok(Check { front: Front::Fuse, tried, wanted });
    }
    let or_fuse = wanted == Tree::Auto;
    let backings =
        config.erofs_backing.map_or_else(|| vec![Backing::File, Backing::Loop], |backing| vec![backing]);
    for backing in backings {
        let outcome = probe(root, backing);
        let usable = outcome.is_ok();
        tried.push((backing, outcome));
        if usable {
            return Ok(Check { front: Front::Erofs { backing, or_fuse }, tried, wanted });
        }
    }
    let check = Check { front: Front::Fuse, tried, wanted };
    if or_fuse { Ok(check) } else { Err(Impossible(check.reasons())) }
}

impl Check {
    fn reasons(&self) -> String {
        let reason = |(backing, outcome): &(Backing, Result<(), Unusable>)| match outcome {
            Ok(()) => format!("{}: works", name(*backing)),
            Err(error) => format!("{}: {error}", name(*backing)),
        };
        self.tried.iter().map(reason).collect::<Vec<_>>().join("; ")
    }
}

fn name(backing: Backing) -> &'static str {
    match backing {
        Backing::File => "EROFS over files",
        Backing::Loop => "EROFS over loop devices",
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.front {
            Front::Erofs { backing, .. } => {
                write!(f, "layers are mounted by the kernel ({})", name(*backing))?
            }
            Front::Fuse if self.wanted == Tree::Fuse => {
                write!(f, "layers are shown through FUSE, as configured")?
            }
            Front::Fuse => write!(f, "layers are shown through FUSE")?,
        }
        if self.tried.is_empty() { Ok(()) } else { write!(f, " — {}", self.reasons()) }
    }
}
