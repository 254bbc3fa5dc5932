//! What may differ between a pod on overlayfs and one on Peel, and nothing else.

use std::collections::BTreeSet;

use super::tree::{Kind, Node, Time};

/// The listed exceptions; the default allows none.
///
/// | exception | why it cannot be otherwise |
/// |---|---|
/// | whole-second times | an eStargz TOC has RFC 3339 times, which its writers round to seconds |
/// | sizes of directories | `st_size` of a directory is the host filesystem's bookkeeping |
/// | times of implied directories | nobody recorded one: containerd leaves the time of the unpacking |
/// | TOC and landmarks | they are the format's own files in the root, no content of the image |
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    /// A modification time of the expected tree may show without its fraction, rounded down or to the nearest
    /// second.
    pub whole_second_times: bool,
    /// `st_size` of directories may differ.
    pub directory_sizes: bool,
    /// Directories, relative to the root (the root itself is empty), whose modification time may differ. A list
    /// and not a rule, so that a directory which *is* named keeps its time: see
    /// [`implied_directories`](crate::images::implied_directories).
    pub untimed_directories: BTreeSet<Vec<u8>>,
    /// Paths that only the expected tree may have.
    pub hidden: BTreeSet<Vec<u8>>,
}

impl Exceptions {
    /// Those of an eStargz image: all four, with the directories that its layers imply.
    #[must_use]
    pub fn estargz(implied: BTreeSet<Vec<u8>>) -> Self {
        let hidden = ["stargz.index.json", ".prefetch.landmark", ".no.prefetch.landmark"];
        Self {
            whole_second_times: true,
            directory_sizes: true,
            untimed_directories: implied,
            hidden: hidden.iter().map(|name| name.as_bytes().to_vec()).collect(),
        }
    }

    /// Whether a path of the expected tree may be missing in the actual one.
    pub(super) fn may_be_hidden(&self, path: &[u8]) -> bool {
        self.hidden.contains(path)
    }

    /// Whether the actual time may stand for the expected one.
    pub(super) fn same_time(&self, path: &[u8], expected: &Node, actual: &Node) -> bool {
        if expected.mtime == actual.mtime {
            return true;
        }
        if expected.kind == Kind::Directory && self.untimed_directories.contains(path) {
            return true;
        }
        self.whole_second_times && is_rounded(expected.mtime, actual.mtime)
    }

    /// Whether the sizes may stand beside each other.
    pub(super) fn same_size(&self, expected: &Node, actual: &Node) -> bool {
        expected.size == actual.size || (self.directory_sizes && expected.kind == Kind::Directory)
    }
}

/// Whether `rounded` is `time` without its fraction.
fn is_rounded(time: Time, rounded: Time) -> bool {
    let nearest = time.seconds + i64::from(time.nanoseconds >= 500_000_000);
    rounded.nanoseconds == 0 && (rounded.seconds == time.seconds || rounded.seconds == nearest)
}
