//! What later layers change, and every type and attribute that an inode can have.

use crate::images::{Content, Entry, EntryKind};

const MIB: u64 = 1024 * 1024;

/// The value of `security.capability` as setcap writes it, version 2: `cap_net_raw` permitted and effective.
const CAP_NET_RAW_EP: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(super) fn entries() -> Vec<Entry> {
    [types(), attributes(), xattrs(), links(), files(), lower()].concat()
}

fn types() -> Vec<Entry> {
    vec![
        Entry::directory("types"),
        Entry::file("types/empty", ""),
        Entry::file("types/file", "content\n"),
        Entry::symlink("types/symlink", "file"),
        Entry::symlink("types/dangling", "/nowhere/at all"),
        Entry::symlink("types/long-target", "t/".repeat(1500)),
        Entry::new("types/fifo", EntryKind::Fifo).mode(0o620),
        Entry::new("types/null", EntryKind::CharDevice { major: 1, minor: 3 }).mode(0o666),
        Entry::new("types/char", EntryKind::CharDevice { major: 250, minor: 70_000 }).mode(0o600),
        Entry::new("types/block", EntryKind::BlockDevice { major: 7, minor: 300 }).mode(0o660).owner(0, 6),
    ]
}

fn attributes() -> Vec<Entry> {
    vec![
        Entry::directory("attributes").mode(0o2775).owner(10, 20),
        Entry::file("attributes/setuid", "#!").mode(0o4755),
        Entry::file("attributes/setuid-owned", "#!").mode(0o4755).owner(1000, 1000),
        Entry::file("attributes/setgid", "#!").mode(0o2755).owner(0, 42),
        Entry::directory("attributes/sticky").mode(0o1777),
        Entry::file("attributes/none", "secret").mode(0),
        Entry::file("attributes/all", "x").mode(0o7777),
        Entry::file("attributes/owner", "x").owner(65_534, 65_534),
        // Beyond ustar's seven octal digits, and the largest that is not "unchanged" (-1).
        Entry::file("attributes/large-owner", "x").owner(3_000_000, 4_000_000_000),
        Entry::file("attributes/largest-owner", "x").owner(4_294_967_294, 4_294_967_294),
        Entry::symlink("attributes/symlink", "owner").owner(7, 8).mtime(1_111_111_111, 0),
        Entry::file("attributes/old", "x").mtime(0, 0),
        Entry::file("attributes/moon-landing", "x").mtime(-14_182_940, 0),
        Entry::file("attributes/after-2038", "x").mtime(4_102_444_800, 0),
        Entry::file("attributes/rounds-down", "x").mtime(1_600_000_000, 250_000_000),
        Entry::file("attributes/rounds-up", "x").mtime(1_600_000_000, 999_999_999),
        Entry::directory("attributes/timed").mtime(1_234_567_890, 0),
    ]
}

fn xattrs() -> Vec<Entry> {
    vec![
        Entry::directory("xattrs").xattr("user.on.directory", "yes"),
        Entry::file("xattrs/capability", "#!").mode(0o755).xattr("security.capability", CAP_NET_RAW_EP),
        Entry::file("xattrs/user", "x").xattr("user.one", "1").xattr("user.two", "a\nb=c"),
        Entry::file("xattrs/empty-value", "x").xattr("user.empty", ""),
        Entry::file("xattrs/binary", "x").xattr("user.binary", [0, 255, 128, 10, 0]),
        Entry::file("xattrs/large", "x").xattr("user.large", "v".repeat(2000)),
        Entry::file("xattrs/trusted", "x").xattr("trusted.peel.test", "for root"),
        // Names that overlayfs gives a meaning to. Nothing lies below this layer's `xattrs`, so an unpacked redirect
        // has nowhere to lead to and is merely not shown.
        Entry::directory("xattrs/redirect").xattr("trusted.overlay.redirect", "/types"),
        Entry::file("xattrs/redirect/file", "x").xattr("trusted.overlay.redirect", "/types/file"),
    ]
}

fn links() -> Vec<Entry> {
    vec![
        Entry::directory("links"),
        Entry::directory("links/a"),
        Entry::directory("links/b"),
        Entry::file("links/a/first", "one file, four names\n")
            .mode(0o640)
            .owner(5, 6)
            .xattr("user.shared", "x"),
        Entry::hard_link("links/a/second", "links/a/first").mode(0o640).owner(5, 6),
        Entry::hard_link("links/b/third", "links/a/first").mode(0o640).owner(5, 6),
        // A link to a link is one more name of the same file.
        Entry::hard_link("links/fourth", "links/b/third").mode(0o640).owner(5, 6),
        Entry::symlink("links/symlink", "a/first"),
        Entry::new("links/fifo", EntryKind::Fifo),
    ]
}

fn files() -> Vec<Entry> {
    let mut entries = vec![
        Entry::directory("files"),
        // Three chunks of the converter's default size of 4 MiB, the last one short.
        Entry::file("files/large", Content::Noise { seed: 11, length: 10 * MIB + 12_345 }),
        Entry::file("files/one-chunk", Content::Noise { seed: 12, length: 4 * MIB }),
        Entry::file("files/one-chunk-and-a-byte", Content::Noise { seed: 13, length: 4 * MIB + 1 }),
        Entry::file("files/page", Content::Noise { seed: 14, length: 4096 }),
        Entry::file("files/page-and-a-byte", Content::Noise { seed: 15, length: 4097 }),
        Entry::file("files/zeros", Content::Zeros(3 * MIB + 7)),
        Entry::file("files/byte", "x"),
        Entry::directory("files/many"),
    ];
    entries.extend((0..1500).map(|number| {
        Entry::file(format!("files/many/{number:04}"), format!("file number {number}\n").repeat(number % 40))
    }));
    entries
}

/// Victims of the layers above.
fn lower() -> Vec<Entry> {
    let mut entries = Vec::new();
    for subject in ["whiteout", "opaque", "replaced", "implied"] {
        entries.push(Entry::directory(subject).mode(0o750).owner(33, 34).xattr("user.from", "below"));
        entries.push(Entry::file(format!("{subject}/file"), "lower"));
        entries.push(Entry::file(format!("{subject}/kept"), "lower"));
        entries.push(Entry::directory(format!("{subject}/sub")).mode(0o711));
        entries.push(Entry::file(format!("{subject}/sub/file"), "lower"));
        entries.push(Entry::directory(format!("{subject}/sub/deep")));
        entries.push(Entry::file(format!("{subject}/sub/deep/file"), "lower"));
    }
    entries
}
