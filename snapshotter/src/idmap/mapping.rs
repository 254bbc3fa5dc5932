//! The mapping that containerd puts on a container's Prepare.

use std::{collections::BTreeMap, fmt::Write as _};

/// Labels with the mapping (containerd, core/snapshots: `LabelSnapshotUIDMapping`, `…GIDMapping`); values are
/// `container:host:length`, separated by commas (contract §3.4).
const UIDS: &str = "containerd.io/snapshot/uidmapping";
const GIDS: &str = "containerd.io/snapshot/gidmapping";

/// Most extents that the kernel takes (user_namespaces(7): 340 lines).
const MAX_EXTENTS: usize = 340;

/// A run of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    container: u32,
    host: u32,
    length: u32,
}

/// User and group ids of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMapping {
    uids: Vec<Extent>,
    gids: Vec<Extent>,
}

/// The labels make no mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {label} is {value:?}; expected container:host:length[,…] with an entry for id 0")]
pub struct MappingError {
    label: &'static str,
    value: String,
}

impl IdMapping {
    /// The mapping of a container's Prepare, if it has one.
    ///
    /// # Errors
    /// One of the labels is missing or malformed.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Result<Option<Self>, MappingError> {
        if !labels.contains_key(UIDS) && !labels.contains_key(GIDS) {
            return Ok(None);
        }
        let parse = |label: &'static str| {
            let value = labels.get(label).map_or("", String::as_str);
            parse(value).ok_or_else(|| MappingError { label, value: value.chars().take(100).collect() })
        };
        Ok(Some(Self { uids: parse(UIDS)?, gids: parse(GIDS)? }))
    }

    /// Who root in the container is outside: user and group.
    #[must_use]
    pub fn root(&self) -> (u32, u32) {
        let root = |extents: &[Extent]| {
            extents.iter().find(|extent| extent.container == 0).map_or(u32::MAX, |extent| extent.host)
        };
        (root(&self.uids), root(&self.gids))
    }

    /// As `/proc/<pid>/uid_map` takes it.
    #[must_use]
    pub fn uid_map(&self) -> String {
        lines(&self.uids)
    }

    /// As `/proc/<pid>/gid_map` takes it.
    #[must_use]
    pub fn gid_map(&self) -> String {
        lines(&self.gids)
    }
}

fn parse(value: &str) -> Option<Vec<Extent>> {
    let extent = |text: &str| {
        let mut numbers = text.split(':').map(|number| number.parse::<u32>().ok());
        let extent = Extent { container: numbers.next()??, host: numbers.next()??, length: numbers.next()?? };
        let fits = |start: u32| start.checked_add(extent.length).is_some();
        (numbers.next().is_none() && extent.length > 0 && fits(extent.container) && fits(extent.host))
            .then_some(extent)
    };
    let extents: Vec<Extent> = value.split(',').map(extent).collect::<Option<_>>()?;
    let has_root = extents.iter().any(|extent| extent.container == 0);
    (has_root && extents.len() <= MAX_EXTENTS).then_some(extents)
}

fn lines(extents: &[Extent]) -> String {
    extents.iter().fold(String::new(), |mut text, Extent { container, host, length }| {
        let _ = writeln!(text, "{container} {host} {length}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(uids: &str, gids: &str) -> BTreeMap<String, String> {
        [(UIDS, uids), (GIDS, gids)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn of_a_pod() {
        let mapping =
            IdMapping::of_labels(&labels("0:100000:65536", "0:200000:65536,65536:1:2")).unwrap().unwrap();
        assert_eq!(mapping.root(), (100_000, 200_000));
        assert_eq!(mapping.uid_map(), "0 100000 65536\n");
        assert_eq!(mapping.gid_map(), "0 200000 65536\n65536 1 2\n");
    }

    #[test]
    fn none_and_nonsense() {
        assert_eq!(IdMapping::of_labels(&BTreeMap::new()), Ok(None));
        for wrong in
            ["", "0", "0:1", "0:1:0", "0:1:2:3", "1:1:1", "0:4294967295:2", "a:b:c", "0:1:1,", "-1:0:1"]
        {
            assert!(IdMapping::of_labels(&labels(wrong, "0:1:1")).is_err(), "{wrong}");
            assert!(IdMapping::of_labels(&labels("0:1:1", wrong)).is_err(), "{wrong}");
        }
    }
}
