//! Which rows are measured.

use std::{convert::Infallible, str::FromStr};

/// Prefixes of row names, separated by commas; without any, all rows.
#[derive(Clone, Debug, Default)]
pub struct Selection(Vec<String>);

impl Selection {
    /// Whether this row is wanted.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

impl FromStr for Selection {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let prefixes = text.split(',').map(str::trim).filter(|prefix| !prefix.is_empty());
        Ok(Self(prefixes.map(ToOwned::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_select_and_nothing_is_everything() {
        let Ok(some) = "tree.walk, mount".parse::<Selection>();
        assert!(some.wants("tree.walk.cold") && some.wants("mount.ms.1k"));
        assert!(!some.wants("fusetree.walk.cold"));
        let Ok(all) = "".parse::<Selection>();
        assert!(all.wants("anything"));
    }
}
