//! Names and order that containerd accepts though no careful packer writes them.

use crate::images::Entry;

pub(super) fn entries() -> Vec<Entry> {
    vec![
        // The root's own attributes are ignored.
        Entry::directory("./").mode(0o700).owner(77, 77),
        Entry::directory("odd/").mode(0o755),
        Entry::file("./odd/dot-slash", "x"),
        Entry::file("/odd/absolute", "x"),
        Entry::file("odd//double/./slash", "x"),
        Entry::file("odd/up/../sideways", "x"),
        // The last entry of a name wins.
        Entry::file("odd/twice", "first").mode(0o600),
        Entry::file("odd/twice", "second").mode(0o644),
        Entry::file("odd/file-then-directory", "gone"),
        Entry::directory("odd/file-then-directory"),
        Entry::file("odd/file-then-directory/inside", "x"),
        Entry::directory("odd/attributes-twice").mode(0o700).mtime(1_000_000_000, 0),
        Entry::directory("odd/attributes-twice").mode(0o755).owner(9, 9).mtime(1_000_000_001, 0),
        // A parent that is a symbolic link of this layer: what is below lands behind it.
        Entry::directory("odd/real"),
        Entry::symlink("odd/relative-link", "real"),
        Entry::file("odd/relative-link/through", "x"),
        Entry::symlink("odd/absolute-link", "/odd/real"),
        Entry::file("odd/absolute-link/through-too", "x"),
        Entry::symlink("odd/outside", "../../../../odd/real"),
        Entry::file("odd/outside/stays-inside", "x"),
        // A link entry's own mode and owner are applied to the file that both name.
        Entry::file("odd/linked", "x").mode(0o755),
        Entry::hard_link("odd/link-with-mode", "odd/linked").mode(0o604).owner(12, 13),
        Entry::hard_link("/odd/absolute-hard-link", "/odd/linked").mode(0o604).owner(12, 13),
        // A file after its own whiteout replaces it.
        Entry::whiteout("odd/after-whiteout"),
        Entry::file("odd/after-whiteout", "x"),
    ]
}
