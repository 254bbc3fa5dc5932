//! Each rule of containerd's unpacking, on small layers. A tree is listed as one line a path:
//! `path type permissions owner detail`.

use peel_erofs::{Metadata, NodeId, NodeKind, Rdev, TreeError, Xattr};

use super::*;

fn entry<'a>(name: &'a str, kind: EntryKind<'a>) -> Entry<'a> {
    let permissions = if matches!(kind, EntryKind::Directory) { 0o755 } else { 0o644 };
    Entry { name: name.as_bytes(), kind, metadata: Metadata { permissions, ..Metadata::default() } }
}

fn file(name: &str) -> Entry<'_> {
    entry(name, EntryKind::File(1))
}

fn directory(name: &str) -> Entry<'_> {
    entry(name, EntryKind::Directory)
}

fn symlink<'a>(name: &'a str, target: &'a str) -> Entry<'a> {
    entry(name, EntryKind::Symlink(target.as_bytes()))
}

fn hard_link<'a>(name: &'a str, target: &'a str) -> Entry<'a> {
    entry(name, EntryKind::HardLink(target.as_bytes()))
}

fn with(mut entry: Entry<'_>, change: impl FnOnce(&mut Metadata)) -> Entry<'_> {
    change(&mut entry.metadata);
    entry
}

fn xattr(name: &str, value: &str) -> Xattr {
    Xattr { name: name.into(), value: value.into() }
}

fn unpack(entries: &[Entry<'_>]) -> Result<Unpacked, EntryError> {
    let mut unpacker = Unpacker::new(&Limits::default());
    for entry in entries {
        unpacker.apply(entry)?;
    }
    unpacker.finish()
}

fn list(entries: &[Entry<'_>]) -> Vec<String> {
    let unpacked = unpack(entries).expect("layer unpacks");
    let mut lines = Vec::new();
    list_below(&unpacked.tree, unpacked.tree.root(), "", &mut lines);
    lines
}

fn list_below(tree: &Tree, directory: NodeId, path: &str, lines: &mut Vec<String>) {
    for (name, node) in tree.children(directory) {
        let path = format!("{path}{}", String::from_utf8_lossy(name));
        let kind = match tree.kind(node) {
            NodeKind::Directory => "d".to_owned(),
            NodeKind::File { .. } => "f".to_owned(),
            NodeKind::Symlink(target) => format!("l({})", String::from_utf8_lossy(target)),
            NodeKind::CharDevice(Rdev::WHITEOUT) => "w".to_owned(),
            other => format!("{other:?}"),
        };
        let Metadata { permissions, uid, gid, xattrs, .. } = tree.metadata(node);
        let mut line = format!("{path} {kind} {permissions:o} {uid}:{gid}");
        for xattr in xattrs {
            line += &format!(
                " {}={}",
                String::from_utf8_lossy(&xattr.name),
                String::from_utf8_lossy(&xattr.value)
            );
        }
        lines.push(line);
        list_below(tree, node, &format!("{path}/"), lines);
    }
}

fn implied(entries: &[Entry<'_>]) -> Vec<String> {
    let unpacked = unpack(entries).expect("layer unpacks");
    unpacked.implied.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

fn error(entries: &[Entry<'_>]) -> EntryError {
    unpack(entries).expect_err("layer is refused")
}

#[test]
fn names_are_cleaned() {
    let expected = list(&[directory("a"), file("a/f")]);
    assert_eq!(list(&[directory("./a/"), file("/a//./f")]), expected);
    assert_eq!(list(&[directory("/x/../a"), file("a/b/../f")]), expected);
    assert!(list(&[directory("./"), directory("/"), directory(""), directory("a/..")]).is_empty());
    for name in ["..", "../f", "/../f", "a/../../f"] {
        assert_eq!(error(&[file(name)]), EntryError::LeavesRoot, "{name}");
    }
}

#[test]
fn the_last_of_one_name_wins() {
    let loud = with(file("f"), |it| it.permissions = 0o4755);
    assert_eq!(list(&[file("f"), loud.clone()]), ["f f 4755 0:0"]);
    assert_eq!(list(&[directory("f"), file("f/x"), loud]), ["f f 4755 0:0"]);
    assert_eq!(list(&[symlink("f", "x"), directory("f")]), ["f d 755 0:0"]);
}

#[test]
fn what_replaces_a_directory_has_its_time() {
    let at = |entry, seconds| with(entry, |it| it.mtime.seconds = seconds);
    let times = |entries: &[Entry<'_>]| {
        let Unpacked { tree, .. } = unpack(entries).expect("layer unpacks");
        tree.children(tree.root()).map(|(_, node)| tree.metadata(node).mtime.seconds).collect::<Vec<_>>()
    };
    assert_eq!(times(&[at(directory("d"), 1), at(file("d"), 2)]), [1]);
    assert_eq!(times(&[at(file("d/x"), 1), at(file("d"), 2)]), [2], "it was only implied");
    assert_eq!(times(&[at(file("d"), 1), at(directory("d"), 2)]), [2]);
}

#[test]
fn directories_merge() {
    let first = with(directory("d"), |it| it.xattrs = vec![xattr("user.a", "1"), xattr("user.b", "1")]);
    let second = with(directory("d"), |it| {
        (it.permissions, it.uid) = (0o1777, 7);
        it.xattrs = vec![xattr("user.b", "2"), xattr("user.c", "2")];
    });
    assert_eq!(
        list(&[first, file("d/f"), second]),
        ["d d 1777 7:0 user.a=1 user.b=2 user.c=2", "d/f f 644 0:0"]
    );
}

#[test]
fn parents_are_made_and_marked() {
    let mut layer = vec![file("a/b/f"), directory("a"), file("c/f")];
    assert_eq!(implied(&layer), ["a/b", "c"]);
    // What is replaced is no longer there.
    layer.push(file("a/b"));
    assert_eq!(implied(&layer), ["c"]);
    layer.push(file("a"));
    layer.push(directory("c"));
    assert!(implied(&layer).is_empty());
}

#[test]
fn parents_are_made_as_mkdir_makes_them() {
    let setgid = with(directory("d"), |it| (it.permissions, it.gid) = (0o2770, 9));
    assert_eq!(list(&[setgid, file("d/a/f")])[..2], ["d d 2770 0:9", "d/a d 755 0:9"]);
}

#[test]
fn parents_are_followed_inside_the_layer() {
    let linked = |link: &'static str, target: &'static str, name: &'static str| {
        let mut lines = list(&[directory("usr"), directory("usr/lib"), symlink(link, target), file(name)]);
        lines.retain(|line| line.contains(" f "));
        lines
    };
    assert_eq!(linked("lib", "usr/lib", "lib/x"), ["usr/lib/x f 644 0:0"]);
    assert_eq!(linked("lib", "/usr/lib", "lib/x"), ["usr/lib/x f 644 0:0"]);
    assert_eq!(linked("lib", "../../usr/./lib", "lib/x"), ["usr/lib/x f 644 0:0"]);
    assert_eq!(linked("usr/lib64", "lib", "usr/lib64/x"), ["usr/lib/x f 644 0:0"]);
    assert_eq!(linked("usr/lib64", "../new/dir", "usr/lib64/x"), ["new/dir/x f 644 0:0"]);
    assert_eq!(linked("up", "/usr/lib/..", "up/x"), ["usr/x f 644 0:0"]);
    // The link itself can be replaced: only parents are followed.
    assert_eq!(linked("lib", "usr/lib", "lib"), ["lib f 644 0:0"]);
}

#[test]
fn parents_that_lead_nowhere() {
    assert_eq!(error(&[file("f"), file("f/x")]), EntryError::ParentNotADirectory);
    assert_eq!(error(&[file(".wh.f"), file("f/x")]), EntryError::ParentNotADirectory);
    assert_eq!(error(&[symlink("a", "b"), symlink("b", "a"), file("a/x")]), EntryError::TooManyLinks);
    assert_eq!(error(&[symlink("a", "a/a"), file("a/x")]), EntryError::TooManyLinks);
    let deep = "d/".repeat(2100) + "f";
    assert_eq!(error(&[file(&deep)]), EntryError::PathTooLong);
    let half = "d/".repeat(1500) + "d";
    let (link, below) = (symlink("a", &half), "a/".to_owned() + &half + "/f");
    assert_eq!(error(&[link, file(&below)]), EntryError::PathTooLong);
}

#[test]
fn whiteouts() {
    let gone = with(file("d/.wh.f"), |it| (it.permissions, it.uid) = (0o777, 5));
    assert_eq!(list(&[directory("d"), gone.clone()]), ["d d 755 0:0", "d/f w 0 5:0"]);
    // Whatever kind of entry it is, and aufs' own names too.
    assert_eq!(list(&[directory(".wh..wh.plnk")]), [".wh.plnk w 0 0:0"]);
    assert_eq!(list(&[gone.clone(), file("d/f")])[1], "d/f f 644 0:0");
    assert_eq!(list(&[gone.clone(), directory("d/f")])[1], "d/f d 755 0:0");
    assert_eq!(error(&[file("d/f"), gone.clone()]), EntryError::WhiteoutOfOwn);
    assert_eq!(error(&[gone.clone(), gone]), EntryError::WhiteoutOfOwn);
    for name in [".wh.", ".wh..", ".wh..."] {
        assert_eq!(error(&[file(name)]), EntryError::InvalidWhiteout);
    }
}

#[test]
fn opaque_directories() {
    let opaque = "d d 755 0:0 trusted.overlay.opaque=y";
    assert_eq!(list(&[directory("d"), file("d/.wh..wh..opq")]), [opaque]);
    assert_eq!(list(&[file("d/.wh..wh..opq"), directory("d")]), [opaque]);
    assert_eq!(implied(&[file("d/.wh..wh..opq")]), ["d"]);
    assert_eq!(list(&[symlink("l", "d"), file("l/.wh..wh..opq")])[0], opaque);
}

#[test]
fn hard_links() {
    let own = |name, target| with(hard_link(name, target), |it| (it.permissions, it.gid) = (0o600, 3));
    assert_eq!(list(&[file("a"), own("b", "./a")]), ["a f 600 0:3", "b f 600 0:3"]);
    assert_eq!(list(&[file("a"), own("b", "/a"), own("c", "b")]).len(), 3);
    // A symlink is linked, not followed, and keeps its mode; its directory is followed.
    let layer = [directory("d"), symlink("l", "d"), symlink("d/s", "x"), own("h", "l/s")];
    assert_eq!(list(&layer)[1..3], ["d/s l(x) 777 0:3", "h l(x) 777 0:3"]);
    assert_eq!(list(&[file(".wh.a"), own("b", "a")]), ["a w 600 0:3", "b w 600 0:3"]);

    for (name, target) in [("b", "a"), ("b", "b"), ("b", "d/a")] {
        assert_eq!(error(&[own(name, target)]), EntryError::NoTarget);
    }
    // What an entry replaces is gone before the target is looked for.
    assert_eq!(error(&[file("a"), own("a", "a")]), EntryError::NoTarget);
    assert_eq!(error(&[file("a"), own("b", "../a")]), EntryError::LeavesRoot);
    for target in ["d", "d/", "d/.", "/"] {
        let refused = error(&[directory("d"), own("b", target)]);
        assert!(matches!(refused, EntryError::Tree(TreeError::LinkToDirectory(_))), "{target}: {refused}");
    }
}

#[test]
fn hard_links_change_the_inode() {
    let target = with(file("a"), |it| {
        it.permissions = 0o4755;
        it.xattrs = vec![xattr("user.a", "1"), xattr("security.capability", "cap")];
    });
    let plain = hard_link("b", "a");
    let capable = with(plain.clone(), |it| it.xattrs = vec![xattr("security.capability", "new")]);
    assert_eq!(list(&[target.clone(), plain])[0], "a f 644 0:0 user.a=1");
    assert_eq!(list(&[target, capable])[0], "a f 644 0:0 security.capability=new user.a=1");
}

#[test]
fn xattrs_that_nobody_may_set() {
    let xattrs = || {
        [
            "trusted.overlay.redirect",
            "trusted.x",
            "user.u",
            "security.s",
            "system.posix_acl_access",
            "other.x",
        ]
        .map(|name| xattr(name, "v"))
        .to_vec()
    };
    let all = |entry| list(&[with(entry, |it| it.xattrs = xattrs())]).remove(0);
    assert_eq!(all(file("f")), "f f 644 0:0 security.s=v system.posix_acl_access=v user.u=v");
    assert_eq!(all(symlink("l", "x")), "l l(x) 777 0:0 security.s=v");
    let refused = |name: &str, value: &str| {
        let layer = [with(file("f"), |it| it.xattrs = vec![xattr(name, value)])];
        matches!(error(&layer), EntryError::Xattr { .. })
    };
    assert!(refused("user.", "") && refused(&"user.x".repeat(50), ""));
    assert!(refused("user.x", &"v".repeat(65_536)));
}

#[test]
fn impossible_names_and_targets() {
    let refused = |layer: &[Entry<'_>]| match error(layer) {
        EntryError::Tree(error) => error,
        other => panic!("{other}"),
    };
    let long = "n".repeat(256);
    assert_eq!(refused(&[file(&long)]), TreeError::NameTooLong(256));
    assert_eq!(refused(&[file(&format!("{long}/f"))]), TreeError::NameTooLong(256));
    assert!(matches!(refused(&[file("a\0b")]), TreeError::InvalidName(_)));
    assert_eq!(refused(&[symlink("l", &"t".repeat(4096))]), TreeError::InvalidTarget(4096));
    assert_eq!(refused(&[symlink("l", "")]), TreeError::InvalidTarget(0));
    let device = EntryKind::CharDevice(Rdev { major: 1 << 20, minor: 0 });
    assert!(matches!(refused(&[entry("c", device)]), TreeError::InvalidDevice { .. }));
    assert_eq!(list(&[file(&"n".repeat(255))]).len(), 1);
}

#[test]
fn limits_hold() {
    let apply = |limits: &Limits, entries: &[Entry<'_>]| {
        let mut unpacker = Unpacker::new(limits);
        entries.iter().try_for_each(|entry| unpacker.apply(entry).map(drop))?;
        unpacker.finish().map(drop)
    };
    let few = Limits { entries: 3, ..Limits::default() };
    assert_eq!(apply(&few, &[file("a/b/f")]), Ok(()));
    assert_eq!(apply(&few, &[file("a/b/c/f")]), Err(EntryError::TooManyNodes(3)));
    let short = Limits { implied_bytes: 5, ..Limits::default() };
    assert_eq!(apply(&short, &[file("a/b/f")]), Err(EntryError::TooManyImplied(5)));
    let lazy = Limits { lookups: 100, ..Limits::default() };
    let (link, target) = ("l", "/".to_owned() + &"./".repeat(60));
    assert_eq!(apply(&lazy, &[symlink(link, &target), file("l/a")]), Ok(()));
    assert_eq!(
        apply(&lazy, &[symlink(link, &target), file("l/a"), file("l/b")]),
        Err(EntryError::TooManyLookups)
    );
}
