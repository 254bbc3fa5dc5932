//! Two layers that change what lies below: whiteouts, opaque directories, types that change and change back,
//! directories that are implied.

use crate::images::Entry;

pub(super) fn first() -> Vec<Entry> {
    vec![
        // `whiteout` itself is implied: it must keep mode, owner and xattrs of the layer below.
        Entry::whiteout("whiteout/file"),
        Entry::whiteout("whiteout/sub"),
        // Of something that never was.
        Entry::whiteout("whiteout/never"),
        Entry::directory("opaque").mode(0o700),
        Entry::opaque("opaque"),
        Entry::file("opaque/new", "upper"),
        // The marker of the deeper directory stands after what it keeps.
        Entry::directory("opaque/sub"),
        Entry::file("opaque/sub/new", "upper"),
        Entry::opaque("opaque/sub"),
        // A directory becomes a file, a file becomes a directory, in both cases by replacement alone.
        Entry::file("replaced", "now a file"),
        Entry::directory("types/file"),
        Entry::file("types/file/inside", "upper"),
        Entry::symlink("types/empty", "fifo"),
        // `tmp` is 1777 below and not named here.
        Entry::file("tmp/x", "upper"),
        Entry::file("implied/sub/deep/new", "upper"),
        // A directory that no layer names.
        Entry::file("unnamed/by/anybody", "upper"),
        // One name of a hard-linked file is replaced, another removed: the others keep the old file.
        Entry::file("links/a/second", "alone now\n"),
        Entry::whiteout("links/b/third"),
        Entry::file("files/many/0007", "upper"),
        Entry::whiteout("files/many/0008"),
    ]
}

pub(super) fn second() -> Vec<Entry> {
    vec![
        // Removed below, here again, with nothing of before.
        Entry::directory("whiteout/sub").mode(0o755),
        Entry::file("whiteout/sub/again", "top"),
        // Back to a directory: nothing of the lowest layer may shine through.
        Entry::directory("replaced").mode(0o751).owner(1, 2),
        Entry::file("replaced/back", "top"),
        Entry::file("types/file", "a file again"),
        // An attribute change of a directory alone.
        Entry::directory("implied/sub").mode(0o2770).owner(3, 4).mtime(1_500_000_000, 0),
        Entry::whiteout("opaque/new"),
        Entry::file("opaque/kept", "not the lower one"),
    ]
}
