//! The comparison: all differences, each with both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::exceptions::Exceptions;
use super::tree::{Kind, Node, Time, Tree};

/// One attribute of one path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path relative to the root.
    pub path: Vec<u8>,
    /// Which attribute, in words.
    pub what: &'static str,
    /// What the expected tree has.
    pub expected: String,
    /// What the actual tree has.
    pub actual: String,
}

/// All differences of two trees; prints as a readable list.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By path, then in the order of the attributes in [`Node`].
    pub differences: Vec<Difference>,
    /// Paths that were compared, those of either side counted once.
    pub compared: usize,
}

impl Report {
    /// Whether the trees are the same, but for the exceptions.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    fn add(&mut self, path: &[u8], what: &'static str, expected: String, actual: String) {
        self.differences.push(Difference { path: path.to_vec(), what, expected, actual });
    }

    fn check<T: PartialEq>(
        &mut self,
        path: &[u8],
        what: &'static str,
        sides: (T, T),
        show: impl Fn(T) -> String,
    ) {
        if sides.0 != sides.1 {
            self.add(path, what, show(sides.0), show(sides.1));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} differences in {} paths", self.differences.len(), self.compared)?;
        for Difference { path, what, expected, actual } in &self.differences {
            writeln!(out, "  /{}: {what}: expected {expected}, found {actual}", path.escape_ascii())?;
        }
        Ok(())
    }
}

/// Compares what is there with what should be.
#[must_use]
pub fn compare(expected: &Tree, actual: &Tree, exceptions: &Exceptions) -> Report {
    let mut report = Report::default();
    let paths: BTreeSet<&Vec<u8>> = expected.nodes.keys().chain(actual.nodes.keys()).collect();
    report.compared = paths.len();
    for path in paths {
        match (expected.nodes.get(path), actual.nodes.get(path)) {
            (Some(left), Some(right)) => compare_nodes(&mut report, path, (left, right), exceptions),
            (Some(_), None) if exceptions.may_be_hidden(path) => {}
            (Some(left), None) => report.add(path, "name", describe(&left.kind), "nothing".into()),
            (None, Some(right)) => report.add(path, "name", "nothing".into(), describe(&right.kind)),
            (None, None) => {}
        }
    }
    report
}

fn compare_nodes(report: &mut Report, path: &[u8], (left, right): (&Node, &Node), exceptions: &Exceptions) {
    if std::mem::discriminant(&left.kind) != std::mem::discriminant(&right.kind) {
        // All else follows from it and would only hide it.
        report.add(path, "type", describe(&left.kind), describe(&right.kind));
        return;
    }
    let what = match left.kind {
        Kind::Symlink(_) => "target",
        Kind::CharDevice(_) | Kind::BlockDevice(_) => "device number",
        _ => "content",
    };
    report.check(path, what, (&left.kind, &right.kind), describe);
    report.check(path, "mode", (left.mode, right.mode), |mode| format!("{mode:04o}"));
    report.check(path, "owner", (left.uid, right.uid), |uid| uid.to_string());
    report.check(path, "group", (left.gid, right.gid), |gid| gid.to_string());
    if !exceptions.same_time(path, left, right) {
        report.add(path, "mtime", show_time(left.mtime), show_time(right.mtime));
    }
    if !exceptions.same_size(left, right) {
        report.add(path, "size", left.size.to_string(), right.size.to_string());
    }
    report.check(path, "link count", (left.nlink, right.nlink), |nlink| nlink.to_string());
    let shown = |path: &[u8]| format!("/{}", path.escape_ascii());
    report.check(path, "same file as", (&left.linked_to[..], &right.linked_to[..]), shown);
    compare_xattrs(report, path, &left.xattrs, &right.xattrs);
}

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

fn compare_xattrs(report: &mut Report, path: &[u8], left: &Xattrs, right: &Xattrs) {
    let names: BTreeSet<&Vec<u8>> = left.keys().chain(right.keys()).collect();
    for name in names {
        report.check(path, "xattr", (left.get(name), right.get(name)), |value| match value {
            Some(value) => format!("{}={}", name.escape_ascii(), value.escape_ascii()),
            None => format!("no {}", name.escape_ascii()),
        });
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Directory => "a directory".into(),
        // Eight digits tell contents apart; the whole digest would bury the line.
        Kind::File(hash) => {
            format!("a file ({}…)", hash[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        Kind::Symlink(target) => format!("a link to {}", target.escape_ascii()),
        Kind::CharDevice(device) => format!("character device {device:#x}"),
        Kind::BlockDevice(device) => format!("block device {device:#x}"),
        Kind::Fifo => "a fifo".into(),
        Kind::Socket => "a socket".into(),
    }
}

fn show_time(time: Time) -> String {
    format!("{}.{:09}", time.seconds, time.nanoseconds)
}
