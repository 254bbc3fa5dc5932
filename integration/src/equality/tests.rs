//! The check itself is checked: it must see every kind of difference, and only the listed exceptions may pass.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use tempfile::TempDir;

use super::{Exceptions, Report, Tree, compare};

/// Two equal trees in temporary directories, the second changed by `change`.
fn report(exceptions: &Exceptions, change: impl FnOnce(&Path) -> Result<()>) -> Result<Report> {
    let (left, right) = (sample()?, sample()?);
    change(right.path())?;
    Ok(compare(&Tree::read(left.path())?, &Tree::read(right.path())?, exceptions))
}

fn sample() -> Result<TempDir> {
    let root = tempfile::tempdir()?;
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("dir/inner"))?;
    fs::write(at("dir/file"), "content")?;
    fs::hard_link(at("dir/file"), at("dir/inner/link"))?;
    symlink("dir/file", at("symlink"))?;
    for path in ["dir/file", "dir/inner", "dir", ""] {
        File::open(at(path))?.set_modified(UNIX_EPOCH + Duration::new(1_700_000_000, 600_000_000))?;
    }
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
    };
    rustix::fs::utimensat(rustix::fs::CWD, at("symlink"), &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(root)
}

fn set_time(path: &Path, seconds: u64, nanoseconds: u32) -> Result<()> {
    Ok(File::open(path)?.set_modified(UNIX_EPOCH + Duration::new(seconds, nanoseconds))?)
}

/// What differs, as `path: attribute`.
fn seen(report: &Report) -> Vec<String> {
    report.differences.iter().map(|found| format!("{}: {}", found.path.escape_ascii(), found.what)).collect()
}

#[test]
fn equal_trees_have_no_difference() -> Result<()> {
    let report = report(&Exceptions::default(), |_| Ok(()))?;
    assert!(report.is_equal(), "{report}");
    assert_eq!(report.compared, 6);
    Ok(())
}

#[test]
fn every_attribute_is_seen() -> Result<()> {
    let none = Exceptions::default();
    let found = report(&none, |root| {
        Ok(fs::set_permissions(root.join("dir/inner"), PermissionsExt::from_mode(0o1777))?)
    })?;
    assert_eq!(seen(&found), ["dir/inner: mode"]);

    let found = report(&none, |root| {
        fs::write(root.join("dir/file"), "CONTENT")?;
        set_time(&root.join("dir/file"), 1_700_000_000, 600_000_000)
    })?;
    assert_eq!(seen(&found), ["dir/file: content", "dir/inner/link: content"]);

    let found = report(&none, |root| set_time(&root.join("dir/file"), 1_700_000_000, 0))?;
    assert_eq!(seen(&found), ["dir/file: mtime", "dir/inner/link: mtime"]);

    let found = report(&none, |root| {
        let file = root.join("dir/file");
        rustix::fs::lsetxattr(&file, "user.x", b"1", rustix::fs::XattrFlags::empty())?;
        Ok(())
    })?;
    assert_eq!(seen(&found), ["dir/file: xattr", "dir/inner/link: xattr"]);
    Ok(())
}

#[test]
fn a_broken_hard_link_is_seen_though_contents_agree() -> Result<()> {
    let found = report(&Exceptions::default(), |root| {
        fs::remove_file(root.join("dir/inner/link"))?;
        fs::write(root.join("dir/inner/link"), "content")?;
        set_time(&root.join("dir/inner/link"), 1_700_000_000, 600_000_000)?;
        set_time(&root.join("dir/inner"), 1_700_000_000, 600_000_000)
    })?;
    let expected = ["dir/file: link count", "dir/inner/link: link count", "dir/inner/link: same file as"];
    assert_eq!(seen(&found), expected);
    Ok(())
}

#[test]
fn types_and_names_are_seen() -> Result<()> {
    let mut exceptions = Exceptions::default();
    exceptions.untimed_directories.insert(Vec::new());
    let found = report(&exceptions, |root| {
        fs::remove_file(root.join("symlink"))?;
        fs::write(root.join("symlink"), "")?;
        Ok(fs::write(root.join("more"), "")?)
    })?;
    assert_eq!(seen(&found), ["more: name", "symlink: type"]);
    Ok(())
}

#[test]
fn whole_seconds_pass_as_the_exception_says_and_no_further() -> Result<()> {
    let exceptions = Exceptions { whole_second_times: true, ..Exceptions::default() };
    // 1,700,000,000.6 may show rounded down or to the nearest second.
    for (seconds, passes) in
        [(1_699_999_999, false), (1_700_000_000, true), (1_700_000_001, true), (1_700_000_002, false)]
    {
        let found = report(&exceptions, |root| set_time(&root.join("dir"), seconds, 0))?;
        assert_eq!(found.is_equal(), passes, "{seconds}: {found}");
    }
    let fraction = report(&exceptions, |root| set_time(&root.join("dir"), 1_700_000_000, 7))?;
    assert!(!fraction.is_equal());
    Ok(())
}

#[test]
fn only_listed_directories_are_untimed_and_only_the_root_hides() -> Result<()> {
    let exceptions = Exceptions::estargz(BTreeSet::from([b"dir".to_vec()]));
    let found = report(&exceptions, |root| {
        set_time(&root.join("dir"), 5, 0)?;
        set_time(&root.join("dir/inner"), 5, 0)
    })?;
    assert_eq!(seen(&found), ["dir/inner: mtime"]);

    let (left, right) = (sample()?, sample()?);
    for name in ["stargz.index.json", "dir/stargz.index.json"] {
        fs::write(left.path().join(name), "{}")?;
    }
    let exceptions = Exceptions::estargz(BTreeSet::from([b"dir".to_vec(), Vec::new()]));
    let found = compare(&Tree::read(left.path())?, &Tree::read(right.path())?, &exceptions);
    assert_eq!(seen(&found), ["dir/stargz.index.json: name"]);
    Ok(())
}
